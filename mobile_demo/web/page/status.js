// Shows what the page is doing: to people, to screen readers and to tests.

import {Trouble} from "../pose/trouble.js";
import {keepAwake} from "./awake.js";
import {button, element, write} from "./dom.js";
import {wordsFor} from "./words.js";

/** @typedef {"loading" | "running" | "paused" | "hidden" | "error"} State */
/** @typedef {"model" | "source"} Part of the page that can fail */

const page = document.documentElement;
/** @type {Map<Part, {trouble: Trouble, again: () => unknown, label: string}>} */
const troubles = new Map();

/**
 * Shows a state, or a failure while any part has one.
 * @param {State} wanted
 */
export function setState(wanted) {
  const first = troubles.get("model") ?? troubles.get("source");
  page.dataset.state = first ? "error" : wanted;
  keepAwake(page.dataset.state === "running");
  element("trouble").hidden = !first;
  if (first) {
    const {code, detail} = first.trouble;
    const {title, fix} = wordsFor(code);
    page.dataset.error = code;
    write("trouble-title", title);
    write("trouble-fix", fix);
    write("trouble-detail", detail);
    const model = troubles.has("model");
    button("retry").onclick = first.again;
    button("retry").textContent = first.label;
    button("trouble-file").hidden = model;
    button("trouble-model").hidden = !model;
    showMessage("");
  } else delete page.dataset.error;
  button("pause").setAttribute("aria-pressed", String(wanted === "paused"));
  write("pause-label", wanted === "paused" ? "Resume" : "Pause");
}

/**
 * @param {Part} part
 * @param {unknown} error
 * @param {() => unknown} again what the button does, which may fix the failure
 * @param {string} [label] of the button
 */
export function fail(part, error, again, label = "Try again") {
  if (!(error instanceof Trouble)) console.error(error);
  troubles.set(part, {trouble: error instanceof Trouble ? error : new Trouble("unknown", String(error)), again, label});
  setState("error");
}

/** Removes the failure of a part. @param {Part} part */
export function recover(part) {
  if (troubles.delete(part)) setState("loading");
}

/**
 * @param {string} text empty to hide it
 * @param {number | null} [share] that is loaded, 0 to 1
 */
export function showMessage(text, share = null) {
  write("message-text", text);
  element("message").hidden = text === "" || troubles.size > 0;
  const bar = /** @type {HTMLProgressElement} */ (element("message-share"));
  bar.hidden = share === null;
  bar.value = share ?? 0;
}

/** @param {string} text empty to hide the notice */
export function showNotice(text) {
  write("notice-text", text);
  element("notice").hidden = text === "";
}
