/** A failure: a code that the page has words for, and details of this case. */
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
 * An error as a Trouble: with its own code if memory ran out, else with the given one.
 * @param {unknown} error
 * @param {string} otherwise
 */
export function troubleFrom(error, otherwise) {
  if (error instanceof Trouble) return error;
  const detail = error instanceof Error ? error.message : String(error);
  const short = error instanceof RangeError || /out of memory|memory alloc|allocat|enlarge memory|OOM/i.test(detail);
  return new Trouble(short ? "memory-short" : otherwise, detail);
}
