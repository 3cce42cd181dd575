// One instance: how it stands, and what it prints, as it prints it.

import { change, read, session } from "../api.js";
import { paint } from "../console/paint.js";
import { ask } from "../dialogs.js";
import { fill, h } from "../dom.js";
import { bytes, duration, moment } from "../format.js";
import { instanceChip, isOver, programLink, titleOf } from "../instances.js";
import { follow, until } from "../live.js";
import { tab } from "../notify.js";
import { to } from "../router.js";
import { short } from "../text.js";

/** How many lines of the log are shown: the newest. */
const SHOWN = 2000;
/** How long one question waits for something new, in seconds. */
const WAITS = 20;

/** Shows the view. */
export async function show({ main, params, signal }) {
  const view = new InstanceView(main, params.instance, signal);
  await Promise.all([view.log(), follow({
    events: "/v2/events",
    load: async () => view.take((await read(`/v2/instances/${params.instance}`, signal)).instance),
    on: { instance: ({ instance }) => instance.id === params.instance && view.take(instance) },
    signal,
  })]);
}

class InstanceView {
  constructor(main, id, signal) {
    this.id = id;
    this.signal = signal;
    this.head = h("div", { class: "head" }, h("h1", {}, `Instance ${id}`));
    this.facts = h("dl", { class: "pairs" });
    this.problem = h("p", { class: "wrong", role: "alert", hidden: true });
    this.output = h("pre", { class: "console log", tabindex: "0", role: "region", "aria-label": "Log" });
    fill(main, this.head, this.problem, h("section", { class: "card", "aria-label": "About it" }, this.facts), h("h2", {}, "Log"), this.output);
  }

  take(instance) {
    const mark = JSON.stringify([instance, session.user]);
    if (mark === this.mark) return;
    this.mark = mark;
    this.isOver = isOver(instance);
    tab(`Instance ${this.id}: ${short(instance.status, 20)}`, { up: "passed", crashed: "failed", failed: "failed", stopped: "canceled" }[instance.status] ?? "running");
    fill(this.head, h("div", {}, h("p", { class: "crumbs small" }, h("a", { href: to.instances() }, "Instances"), ` / #${this.id}`), h("h1", {}, titleOf(instance), " ", instanceChip(instance))),
      h("div", { class: "actions" }, programLink(instance), session.mayBuild && !this.isOver ? h("button", { type: "button", class: "danger", on: { click: (event) => this.stop(event.currentTarget) } }, "Stop") : null));
    const pairs = [["Reason", instance.reason && short(instance.reason, 400)], ["Slave", instance.slave_id && `slave ${instance.slave_id}, placement ${instance.generation}`],
      ["Command", Array.isArray(instance.command) ? instance.command.join(" ") : instance.command], ["Restarts", instance.restarts], ["Memory", instance.max_memory_bytes && `${bytes(instance.max_memory_bytes)} at most`],
      ["Unused", instance.cull_after && `ends after ${duration(instance.cull_after)} without a request`], ["Launched", moment(instance.created)], ["Changed", moment(instance.changed)]];
    fill(this.facts, pairs.filter(([, value]) => value).map(([word, value]) => [h("dt", {}, word), h("dd", {}, h("bdi", {}, value))]));
  }

  async stop(button) {
    if (!await ask(`Stop instance ${this.id}?`, "Its program ends, and its working directory is removed.", "Stop it", "Keep it running")) return;
    button.disabled = true;
    try {
      await change("DELETE", `/v2/instances/${this.id}`);
    } catch (error) {
      fill(this.problem, error.message);
      this.problem.hidden = false;
      button.disabled = false;
    }
  }

  /** Follows the log. */
  async log() {
    let [offset, rest, look] = [0, "", null];
    while (!this.signal.aborted) {
      let piece;
      try {
        piece = await read(`/v2/instances/${this.id}/logs?offset=${offset}&wait_s=${offset ? WAITS : 0}`, this.signal);
      } catch (error) {
        if (this.signal.aborted || (error.status > 0 && error.status < 500)) return;
        await until(this.signal, [], 2000);
        continue;
      }
      const isNear = this.output.scrollTop + this.output.clientHeight >= this.output.scrollHeight - 30;
      if (piece.offset > offset) this.output.append(h("span", { class: "cut" }, "… the beginning is not kept any more\n"));
      const lines = (rest + piece.content).split("\n");
      rest = lines.pop();
      if (piece.is_complete && rest) lines.push(rest);
      for (const line of lines.slice(-SHOWN)) {
        const painted = paint(line, look);
        look = painted.look;
        this.output.append(h("span", { class: "tail-line" }, painted.element, "\n"));
      }
      while (this.output.childElementCount > SHOWN) this.output.firstChild.remove();
      if (isNear) this.output.scrollTop = this.output.scrollHeight;
      offset = piece.next_offset;
      if (piece.is_complete) return;
      if (!offset) await until(this.signal, [], 1000);
    }
  }
}
