/**
 * Sums of products over tokens that come batch by batch: X'X, of which only the half above the diagonal is computed, and Y'X. Several
 * batches are multiplied at once, since adding products of thousands of inputs up costs as much as making them from a few hundred tokens.
 */
import type { Multiplier } from './factor.js'
import type { GroupSamples } from './samples.js'

/** Tokens that are multiplied at once. */
export const tokensAtOnce = 2048
/** Columns of a panel of X'X. */
const panel = 1024

/** X'X, (in, in), and Y'X, (out, in), by the names of the targets. */
export interface Moments {
  readonly inputs: Float32Array
  readonly targets: ReadonlyMap<string, Float32Array>
}

export class MomentSums {
  private readonly waiting: GroupSamples[] = []
  private tokens = 0
  private inputs: Float32Array | undefined
  private readonly targets = new Map<string, Float32Array>()

  constructor(private readonly products: Multiplier) {}

  /** @param tokens rows of each array of the samples */
  async add(samples: GroupSamples, tokens: number): Promise<void> {
    this.waiting.push(samples)
    this.tokens += tokens
    if (this.tokens >= tokensAtOnce) await this.flush()
  }

  /** Nothing is to be added any more. */
  async finish(): Promise<Moments> {
    if (this.waiting.length > 0) await this.flush()
    const { inputs, targets } = this
    if (!inputs) throw new RangeError('there are no tokens')
    const n = Math.sqrt(inputs.length)
    for (let i = 0; i < n; i++) for (let j = 0; j < i; j++) inputs[i * n + j] = inputs[j * n + i]
    return { inputs, targets }
  }

  private async flush(): Promise<void> {
    const { waiting, tokens, products } = this
    const x = joined(waiting.map(({ inputs }) => inputs))
    const n = x.length / tokens
    this.inputs ??= new Float32Array(n * n)
    for (let from = 0; from < n; from += panel) {
      const width = Math.min(panel, n - from)
      const right = columns(x, n, from, n - from)
      const left = width === n - from ? right : columns(x, n, from, width)
      const part = await products.multiply(left, right, [width, tokens, n - from], { transA: true })
      for (let r = 0, at = 0; r < width; r++)
        for (let j = (from + r) * n + from, end = (from + r + 1) * n; j < end; j++, at++)
          this.inputs[j] += part[at]
    }
    for (const name of waiting[0].targets.keys()) {
      const y = joined(waiting.map(({ targets }) => targets.get(name) as Float32Array))
      const out = y.length / tokens
      addTo(this.targets, name, await products.multiply(y, x, [out, tokens, n], { transA: true }))
    }
    waiting.length = 0
    this.tokens = 0
  }
}

/** Columns of a matrix of n columns. */
function columns(x: Float32Array, n: number, from: number, count: number): Float32Array {
  if (count === n) return x
  const rows = x.length / n
  const part = new Float32Array(rows * count)
  for (let r = 0; r < rows; r++) part.set(x.subarray(r * n + from, r * n + from + count), r * count)
  return part
}

/** Adds to sums that are kept by name; the first values become the sum themselves. */
export function addTo(sums: Map<string, Float32Array>, name: string, values: Float32Array): void {
  const total = sums.get(name)
  if (total) for (let i = 0; i < total.length; i++) total[i] += values[i]
  else sums.set(name, values)
}

/** Arrays one after another. */
export function joined(parts: readonly Float32Array[]): Float32Array {
  if (parts.length === 1) return parts[0]
  const all = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}
