/** The order in which windows are trained on, and their digest. */
import { createHash } from 'node:crypto'
import { Random } from '../random.js'

/** Windows in an order that depends on the seed alone: every epoch is a new shuffle of all windows. */
export class WindowOrder {
  private epoch = -1
  private shuffled: Int32Array[] = []

  constructor(
    private readonly windows: readonly Int32Array[],
    private readonly seed: number,
  ) {}

  /** Windows `start` to `start + count` of the endless sequence of epochs. */
  take(start: number, count: number): Int32Array[] {
    return Array.from({ length: count }, (_, i) => this.at(start + i))
  }

  private at(index: number): Int32Array {
    const epoch = Math.floor(index / this.windows.length)
    if (epoch !== this.epoch) {
      this.shuffled = [...this.windows]
      new Random(this.seed, 1 + epoch).shuffle(this.shuffled)
      this.epoch = epoch
    }
    return this.shuffled[index % this.windows.length]
  }
}

/** Hash of the windows' tokens. */
export function digest(windows: readonly Int32Array[]): string {
  const hash = createHash('sha256')
  for (const { buffer, byteOffset, byteLength } of windows)
    hash.update(new Uint8Array(buffer, byteOffset, byteLength))
  return hash.digest('hex').slice(0, 16)
}
