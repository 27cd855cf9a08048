// What the page is doing, told to people, to screen readers and to tests.

import {Trouble} from "../pose/trouble.js";
import {keepAwake} from "./awake.js";
import {button, element, write} from "./dom.js";
import {wordsFor} from "./words.js";

/** @typedef {"loading" | "running" | "paused" | "hidden" | "error"} State */
/** @typedef {"model" | "source"} Part of the page, which each can be in trouble */

const page = document.documentElement;
/** @type {Map<Part, {trouble: Trouble, again: () => unknown, label: string}>} */
const troubles = new Map();

/**
 * Shows a state; while a part is in trouble, that.
 * @param {State} wanted
 */
export function setState(wanted) {
  const first = troubles.get("model") ?? troubles.get("source");
  page.dataset.state = first ? "error" : wanted;
  keepAwake(page.dataset.state === "running");
  element("trouble").hidden = !first;
  if (first) {
    const {code, detail} = first.trouble;
    const {title, mend} = wordsFor(code);
    page.dataset.error = code;
    write("trouble-title", title);
    write("trouble-mend", mend);
    write("trouble-detail", detail);
    const model = troubles.has("model");
    button("retry").onclick = first.again;
    button("retry").textContent = first.label;
    button("trouble-file").hidden = model;
    button("trouble-model").hidden = !model;
    showMessage("");
  } else delete page.dataset.error;
  button("pause").setAttribute("aria-pressed", String(wanted === "paused"));
  write("pause-label", wanted === "paused" ? "Go on" : "Pause");
}

/**
 * @param {Part} part
 * @param {unknown} error
 * @param {() => unknown} again what may mend it
 * @param {string} [label] of that
 */
export function fail(part, error, again, label = "Try again") {
  if (!(error instanceof Trouble)) console.error(error);
  troubles.set(part, {trouble: error instanceof Trouble ? error : new Trouble("unknown", String(error)), again, label});
  setState("error");
}

/** @param {Part} part that is in trouble no more */
export function mend(part) {
  if (troubles.delete(part)) setState("loading");
}

/**
 * @param {string} text empty: none
 * @param {number | null} [share] of what is loaded
 */
export function showMessage(text, share = null) {
  write("message-text", text);
  element("message").hidden = text === "" || troubles.size > 0;
  const bar = /** @type {HTMLProgressElement} */ (element("message-share"));
  bar.hidden = share === null;
  bar.value = share ?? 0;
}

/** @param {string} text that is good to know; empty: none */
export function showNotice(text) {
  write("notice-text", text);
  element("notice").hidden = text === "";
}
