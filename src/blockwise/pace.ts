/**
 * Keeps the block-wise stage within its time. A machine may become slower after the plan was made: then the blocks that are left are solved on
 * fewer tokens, and where there is no time even for these, they stay as the reference quantizer made them.
 */

export class SolvingPace {
  #perBatch: number | undefined

  /**
   * @param until when the stage has to end, as `performance.now()`
   * @param least batches that are worth solving on
   * @param slack milliseconds that it may be late
   */
  constructor(
    private readonly until: number,
    private readonly least: number,
    private readonly slack: number,
  ) {}

  /** On how many of the `batches` so far the next of `left` blocks is solved; 0: on none. */
  batches(left: number, batches: number, time = performance.now()): number {
    if (this.#perBatch === undefined || batches === 0) return batches
    const there = (this.until - time) / 1000
    if (left * batches * this.#perBatch <= there + this.slack / 1000) return batches
    const fitting = Math.floor(there / (left * this.#perBatch))
    if (fitting >= this.least) return fitting
    // Late, but a first attempt with few tokens may still be in time.
    return there > 0 && batches > this.least ? this.least : 0
  }

  /** Tells what a block took. */
  took(seconds: number, batches: number): void {
    if (batches > 0) this.#perBatch = seconds / batches
  }
}
