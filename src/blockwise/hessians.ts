/**
 * Sums of products over tokens, accumulated batch by batch: X'X, of which only the upper half is computed, and Y'X. Several batches are
 * multiplied at once, since adding up products of thousands of inputs costs as much as computing them from a few hundred tokens.
 */
import { type DeviceBuffer, joined } from '../backends/backend.js'
import type { Products } from '../backends/products.js'
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
  /** The panels of X'X, each from its diagonal on: (width, n - from). */
  private readonly panels: DeviceBuffer[] = []
  private n = 0
  private readonly targets = new Map<string, DeviceBuffer>()

  /** @param atOnce tokens that are multiplied at once */
  constructor(
    private readonly products: Products,
    private readonly atOnce = tokensAtOnce,
  ) {}

  /** @param tokens rows of each array of the samples */
  async add(samples: GroupSamples, tokens: number): Promise<void> {
    this.waiting.push(samples)
    this.tokens += tokens
    if (this.tokens >= this.atOnce) await this.flush()
  }

  /** Multiplies the remaining samples and returns the sums. */
  async finish(): Promise<Moments> {
    if (this.waiting.length > 0) await this.flush()
    const { backend } = this.products
    const { n, panels } = this
    if (panels.length === 0) throw new RangeError('there are no tokens')
    const inputs = new Float32Array(n * n)
    for (let from = 0, i = 0; from < n; from += panel, i++) {
      const part = await backend.download(panels[i])
      const width = n - from
      for (let r = 0; r * width < part.length; r++)
        inputs.set(part.subarray(r * width + r, (r + 1) * width), (from + r) * n + from + r)
    }
    for (let i = 0; i < n; i++) for (let j = 0; j < i; j++) inputs[i * n + j] = inputs[j * n + i]
    const targets = new Map<string, Float32Array>()
    for (const [name, sum] of this.targets) targets.set(name, await backend.download(sum))
    return { inputs, targets }
  }

  private async flush(): Promise<void> {
    const { waiting, tokens, products, panels } = this
    const { backend } = products
    const x = joined(
      backend,
      waiting.map(({ inputs }) => inputs),
    )
    const n = x.length / tokens
    this.n = n
    // A product of rows with rows is faster than one of columns with columns, and rows are parts of the array.
    const columns = await products.transposed(x, [tokens, n])
    const between = (column: number, to: number): DeviceBuffer =>
      backend.view(columns, column * tokens, to * tokens)
    for (let first = 0, i = 0; first < n; first += panel, i++) {
      const last = Math.min(n, first + panel)
      const part = await products.ofBuffers(
        between(first, last),
        between(first, n),
        [last - first, tokens, n - first],
        { transB: true },
      )
      if (panels[i]) backend.add(panels[i], part)
      else panels.push(part)
    }
    for (const name of waiting[0].targets.keys()) {
      const y = joined(
        backend,
        waiting.map(({ targets }) => targets.get(name) as DeviceBuffer),
      )
      const out = y.length / tokens
      const part = await products.ofBuffers(y, x, [out, tokens, n], { transA: true })
      const sum = this.targets.get(name)
      if (sum) backend.add(sum, part)
      else this.targets.set(name, part)
    }
    waiting.length = 0
    this.tokens = 0
  }
}
