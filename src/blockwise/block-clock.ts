/** Times the blocks of a block-wise run as they are solved: what is left is projected from the first, not from the plan. */
import type { MeasuredBlock } from '../config/options.js'

export class BlockClock {
  private began = 0
  private solved = false
  private told = false

  /** @param tokens tokens that the blocks are solved on */
  constructor(
    readonly tokens: number,
    private readonly onBlock: ((measured: MeasuredBlock) => void) | undefined,
  ) {}

  /** `done` of `total` blocks; within a block only where it is not one that an earlier run has solved. */
  at(done: number, total: number): void {
    if (!Number.isInteger(done)) {
      this.solved = true
      return
    }
    const now = performance.now()
    if (this.solved && !this.told) {
      this.told = true
      const seconds = (now - this.began) / 1000
      this.onBlock?.({
        seconds,
        tokensPerSecond: this.tokens / (seconds * total),
        left: seconds * (total - done),
        blocksLeft: total - done,
        peakBytes: process.resourceUsage().maxRSS * 1024,
      })
    }
    this.began = now
    this.solved = false
  }
}
