/** What went wrong, by a code for which the page has words, and what is particular to it. */
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
 * An error as a Trouble; one of memory as such, any other by the code that is given.
 * @param {unknown} error
 * @param {string} otherwise
 */
export function troubleFrom(error, otherwise) {
  if (error instanceof Trouble) return error;
  const detail = error instanceof Error ? error.message : String(error);
  const short = error instanceof RangeError || /out of memory|memory alloc|allocat|enlarge memory|OOM/i.test(detail);
  return new Trouble(short ? "memory-short" : otherwise, detail);
}
