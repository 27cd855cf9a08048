/**
 * The element with this id.
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 */
export function element(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no element ${id}`);
  return /** @type {T} */ (found);
}

/** @param {string} id */
export const button = (id) => /** @type {HTMLButtonElement} */ (element(id));

/** @param {string} id */
export const canvas = (id) => /** @type {HTMLCanvasElement} */ (element(id));

/** @param {string} id */
export const input = (id) => /** @type {HTMLInputElement} */ (element(id));

/** @param {string} id */
export const dialog = (id) => /** @type {HTMLDialogElement} */ (element(id));

/**
 * Sets a text only if it changed, so that screen readers read it once.
 * @param {string} id
 * @param {string} text
 */
export function write(id, text) {
  const found = element(id);
  if (found.textContent !== text) found.textContent = text;
  found.hidden = text === "";
}
