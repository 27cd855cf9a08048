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
