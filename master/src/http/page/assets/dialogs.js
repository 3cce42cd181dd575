// Questions before what cannot be undone.

import { h } from "./dom.js";

/** Asks whether to do something; whether the answer was yes. */
export function ask(title, words, yes, no = "Do not") {
  return new Promise((resolve) => {
    const end = (answer) => dialog.close(answer ? "yes" : "");
    const dialog = h("dialog", { "aria-labelledby": "dialog-title" }, h("h2", { id: "dialog-title" }, title), h("p", {}, words),
      h("div", { class: "actions" },
        h("button", { type: "button", autofocus: true, on: { click: () => end(false) } }, no),
        h("button", { type: "button", class: "danger", on: { click: () => end(true) } }, yes)));
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
