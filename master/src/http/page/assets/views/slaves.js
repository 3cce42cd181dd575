// The slaves: what they do, and why they take no work.

import { change, read, session } from "../api.js";
import { ask } from "../dialogs.js";
import { fill, h, name, time } from "../dom.js";
import { ago, count, duration, moment } from "../format.js";
import { follow, until } from "../live.js";
import { chart, words } from "../load_chart.js";
import { tab } from "../notify.js";
import { to } from "../router.js";
import { short } from "../text.js";

/** How often it is asked what runs, in milliseconds, and of how many builds at most. */
const ASKED_EVERY = 2000, SOON = 300, MOST_BUILDS = 8;
/** Every so many times it is also asked when slaves were heard of, and how busy they are: no event tells of that alone. */
const SIGNS_EVERY = 3, POOLS_EVERY = 3;

/** Shows the view. */
export async function show({ main, signal }) {
  const view = new Slaves(main);
  view.watch(signal);
  window.addEventListener("session", () => view.draw(), { signal });
  await follow({
    events: "/v2/events",
    load: async () => {
      const { slaves } = await read("/v2/slaves", signal);
      view.slaves = new Map(slaves.map((slave) => [slave.id, slave]));
      view.draw();
    },
    on: {
      slave: ({ slave }) => {
        view.slaves.set(slave.id, slave);
        view.draw();
      },
      slave_gone: ({ id }) => {
        view.slaves.delete(id);
        view.draw();
      },
    },
    signal,
  });
}

/** How a slave stands: a key for colours, and words. Pure. */
export function slaveState(slave) {
  if (slave.is_stopped) return { key: "canceled", word: "Stopped" };
  if (!slave.is_alive) return { key: "error", word: "Lost" };
  if (slave.is_quarantined) return { key: "failed", word: "Quarantined" };
  if (slave.is_in_shutdown_mode) return { key: "canceled", word: "Shutting down" };
  if (slave.is_drained) return { key: "canceled", word: "Drained" };
  if (slave.num_executors_in_use) return { key: "running", word: "Works" };
  return { key: "waiting", word: "Idle" };
}

class Slaves {
  constructor(main) {
    this.slaves = new Map();
    /** What runs, by the number of its slave. */
    this.running = new Map();
    /** The parts of the cards that change though nothing happens, by the number of the slave. */
    this.signs = new Map();
    this.summary = h("p", { class: "muted" });
    this.problem = h("p", { class: "wrong", role: "alert", hidden: true });
    this.list = h("ul", { class: "slaves" });
    this.pools = h("ul", { class: "muted", hidden: true });
    fill(main, h("div", { class: "head" }, h("h1", {}, "Slaves")), this.summary, this.pools, this.problem, this.list);
  }

  /** Asks again and again what runs. */
  async watch(signal) {
    for (let pause = SOON, turn = 0; !signal.aborted; pause = ASKED_EVERY, turn += 1) {
      await until(signal, [[document, "visibilitychange"]], pause);
      if (document.hidden || signal.aborted) continue;
      if (turn % SIGNS_EVERY === SIGNS_EVERY - 1) await this.#readSigns(signal);
      if (turn % POOLS_EVERY === 0) await this.#readPools(signal);
      const builds = new Set([...this.slaves.values()].map((slave) => slave.is_alive && slave.current_build_id).filter(Boolean));
      const running = new Map();
      for (const build of [...builds].slice(0, MOST_BUILDS)) {
        const found = await read(`/v2/builds/${build}/atoms?state=in_progress`, signal).catch(() => ({ columns: [], rows: [] }));
        for (const row of found.rows) {
          const atom = Object.fromEntries(found.columns.map((column, at) => [column, row[at]]));
          running.set(atom.slave_id, [...running.get(atom.slave_id) ?? [], { ...atom, build }]);
        }
      }
      this.running = running;
      this.draw();
    }
  }

  /** Slaves on demand: a line for each pool. */
  async #readPools(signal) {
    const { pools } = await read("/v2/pools", signal).catch(() => ({ pools: [] }));
    this.pools.hidden = !pools.length;
    fill(this.pools, pools.map((pool) => h("li", {}, `Pool ${pool.name}: ${pool.busy + pool.idle} of ${pool.max_slaves} slaves, ${pool.wanted_slaves} wanted, ${pool.queued + pool.starting} on their way: ${pool.why}.`)));
  }

  async #readSigns(signal) {
    const { slaves } = await read("/v2/slaves", signal).catch(() => ({ slaves: [] }));
    for (const { id, last_heard_at, version, load_of_last_hour } of slaves) {
      const known = this.slaves.get(id);
      if (known) this.slaves.set(id, { ...known, last_heard_at, version, load_of_last_hour });
    }
  }

  draw() {
    const slaves = [...this.slaves.values()].sort((one, other) => other.is_alive - one.is_alive || one.id - other.id);
    const alive = slaves.filter((slave) => slave.is_alive);
    const sum = (field) => alive.reduce((all, slave) => all + slave[field], 0);
    tab("Slaves");
    fill(this.summary, slaves.length ? `${count(alive.length, "slave")} in contact, ${sum("num_executors_in_use")} of ${count(sum("num_executors"), "executor")} in use.` : "");
    if (!slaves.length) {
      fill(this.list, h("li", { class: "empty" }, h("h2", {}, "No slaves"), h("p", {}, "Start one on any machine that reaches this master:"),
        h("pre", { class: "command", tabindex: "0" }, `clusterrunner slave --master-url ${location.host}`)));
      return;
    }
    const facts = slaves.map(({ last_heard_at: _heard, load_of_last_hour: _load, ...facts }) => facts);
    const mark = JSON.stringify([facts, session.isOperator, [...this.running]]);
    if (mark !== this.mark) {
      this.mark = mark;
      const focused = document.activeElement?.dataset?.act;
      this.signs.clear();
      fill(this.list, slaves.map((slave) => this.#slave(slave)));
      if (focused) this.list.querySelector(`[data-act="${CSS.escape(focused)}"]`)?.focus();
    }
    for (const slave of slaves) this.#drawSigns(slave);
  }

  /** Says when a slave was heard of, and how busy it is, without touching the rest of its card. */
  #drawSigns(slave) {
    const { heard, load } = this.signs.get(slave.id);
    const now = Date.now() / 1000;
    fill(heard, slave.last_heard_at ? ["Last heartbeat ", time(slave.last_heard_at, ago(slave.last_heard_at, now), moment(slave.last_heard_at))] : "No heartbeat since the master started");
    const shares = slave.load_of_last_hour ?? [];
    const mark = shares.join();
    if (load.dataset.mark === mark) return;
    load.dataset.mark = mark;
    fill(load, shares.length ? [chart(shares), h("span", { class: "muted small" }, words(shares))] : null);
  }

  #slave(slave) {
    const { key, word } = slaveState(slave);
    const [heard, load] = [h("span"), h("div", { class: "load" })];
    this.signs.set(slave.id, { heard, load });
    return h("li", { class: "slave card" },
      h("div", { class: "slave-head" }, h("h2", {}, name(short(slave.url, 80)), h("span", { class: "muted small" }, ` slave ${slave.id}`)), h("span", { class: `chip plain ${key}` }, word)),
      executors(slave),
      h("p", { class: "small" }, `${slave.num_executors_in_use} of ${count(slave.num_executors, "executor")} in use`,
        slave.current_build_id ? [", build ", h("a", { href: to.build(slave.current_build_id) }, `#${slave.current_build_id}`), stateWords(slave.current_build_state)] : null),
      runningNow(this.running.get(slave.id) ?? []),
      load,
      h("p", { class: "small muted" }, heard, slave.version ? [" · version ", name(slave.version)] : null,
        slave.isolation && slave.isolation !== "none" ? [" · isolation ", name(slave.isolation)] : null),
      slave.labels?.length ? h("p", { class: "labels" }, h("span", { class: "visually-hidden" }, "Labels: "), slave.labels.map((label) => [h("bdi", { class: "tag" }, short(label, 60)), " "])) : null,
      slave.is_in_doubt ? h("p", { class: "small why" }, "In doubt: all its latest atoms failed, so it gets one at a time.") : null,
      slave.lost_reason && !slave.is_stopped ? h("p", { class: "small wrong" }, `Lost: ${short(slave.lost_reason, 300)}.`) : null,
      slave.quarantine_reason ? h("p", { class: "small wrong" }, short(slave.quarantine_reason, 300), slave.next_probe_at ? ` Next try: ${moment(slave.next_probe_at)}.` : null) : null,
      session.isOperator && slave.is_alive ? this.#actions(slave) : null);
  }

  #actions(slave) {
    const act = (word, path, kind) => h("button", { type: "button", class: kind, data: { act: `${slave.id} ${path}` }, on: { click: (event) => this.#do(event.currentTarget, slave, path) } }, word);
    return h("div", { class: "actions" }, slave.is_drained ? act("Undrain", "undrain") : act("Drain", "drain"),
      slave.is_in_shutdown_mode ? null : act("Shut down", "shutdown", "danger"));
  }

  async #do(button, slave, path) {
    this.problem.hidden = true;
    const isSure = path !== "shutdown" || await ask(`Shut down ${short(slave.url, 60)}?`, "It finishes its work and ends. Somebody must start it again.", "Shut it down");
    if (!isSure) return;
    button.disabled = true;
    try {
      await change("POST", `/v2/slaves/${slave.id}/${path}`);
    } catch (error) {
      fill(this.problem, error.message);
      this.problem.hidden = false;
    } finally {
      button.disabled = false;
    }
  }
}

/** A square for each executor, full where it works. */
function executors(slave) {
  const drawn = Math.min(slave.num_executors, 128);
  const squares = Array.from({ length: drawn }, (_, at) => h("i", { class: at < slave.num_executors_in_use ? "used" : null }));
  return h("div", { class: "executors", "aria-hidden": "true" }, squares);
}

/** The atoms that run on a slave. */
function runningNow(atoms) {
  if (!atoms.length) return null;
  const now = Date.now() / 1000;
  const shown = [...atoms].sort((one, other) => (one.executor_id ?? 0) - (other.executor_id ?? 0)).slice(0, 16);
  return h("ul", { class: "running-now small" }, shown.map((atom) => h("li", {},
    h("a", { href: to.atom(atom.build, atom.subjob_id, atom.atom_id) }, name(short(atom.value, 60))),
    h("span", { class: "muted" }, atom.started_at ? ` ${duration(now - atom.started_at)}` : ""))));
}

function stateWords(state) {
  return { SETTING_UP: " is set up", TEARING_DOWN: " is torn down" }[state] ?? "";
}
