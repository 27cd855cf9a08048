/** A failure: a code for which page/words.js has texts, and the details of this case. */
export class Trouble extends Error {
  /**
   * @param {string} code
   * @param {string} [detail] a sentence
   */
  constructor(code, detail = "") {
    super(detail || code);
    this.code = code;
    this.detail = detail;
  }
}

/**
 * An error as a Trouble: with the code `memory-short` if memory ran out, else with the code `otherwise`.
 * @param {unknown} error
 * @param {string} otherwise
 */
export function troubleFrom(error, otherwise) {
  if (error instanceof Trouble) return error;
  const detail = error instanceof Error ? error.message : String(error);
  const short = error instanceof RangeError || /out of memory|memory alloc|allocat|enlarge memory|OOM/i.test(detail);
  return new Trouble(short ? "memory-short" : otherwise, detail);
}
