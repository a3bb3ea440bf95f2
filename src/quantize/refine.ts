/**
 * Coordinate descent on the stored numbers of a quantized matrix: its codes, and the scales and minimums of its groups, one
 * after another, each to the value that makes
 *
 *   tr(G (W' - T) H (W' - T)')
 *
 * smallest while the others stay. T (out, n) is what the matrix should be, H (n, n) the second moments of its inputs and G
 * (out, out) those of the loss's gradients at its outputs: the second-order model of the loss with a Kronecker-factored Fisher
 * matrix (K-FAC, arXiv 1503.05671). Nothing is relaxed: every step stays on the grid of the file, and the error never grows.
 *
 * A row's slope (G (W' - T) H)_i needs all rows. It is computed for a panel of rows at once, as a matrix product, and kept
 * current within the panel.
 */
import type { Codes, Factor, Uniform } from '../formats/format.js'
import { floatToHalf, halfToFloat } from '../formats/half.js'
import type { Multiplier } from './factor.js'

/** Both damped, so that their diagonals are above 0. */
export interface Metric {
  /** H, (n, n). */
  readonly inputs: Float32Array
  /** G, (out, out). Without it, the unit matrix: rows do not know of each other. */
  readonly outputs?: Float32Array
}

/** Rows that are worked on at once; without G in turns, so that little memory is used. */
const panel = 64
const chunk = 1024

/**
 * Improves `codes` in place. Returns, for each weight, the value at which the error would be smallest were it not rounded and
 * all others as they are: (out, n), within the cell of its code.
 * @param target T, (out, n)
 * @param weights what the codes dequantize to, (out, n)
 * @param sweeps times that every number is visited
 */
export async function refine(
  codes: Codes,
  uniform: Uniform,
  target: Float32Array,
  weights: Float32Array,
  metric: Metric,
  sweeps: number,
  products: Multiplier,
): Promise<Float32Array> {
  const n = Math.sqrt(metric.inputs.length)
  const out = weights.length / n
  const row = new Row(codes, uniform, n, metric.inputs)
  const optimum = new Float32Array(weights.length)
  const step = metric.outputs ? out : chunk
  for (let from = 0; from < out; from += step) {
    const rows = Math.min(step, out - from)
    const errors = new Float32Array(rows * n)
    for (let i = 0; i < errors.length; i++) errors[i] = weights[from * n + i] - target[from * n + i]
    const product = await products.multiply(errors, metric.inputs, [rows, n, n]) // (W' - T) H
    for (let sweep = 0; sweep < sweeps; sweep++) {
      const into = sweep === sweeps - 1 ? optimum : undefined
      if (metric.outputs) await sweepTogether(row, product, metric.outputs, products, into)
      else sweepAlone(row, product, from, into)
    }
  }
  return optimum
}

/** Visits rows from `from` on, each by itself. `product` are their rows of (W' - T) H, kept current. */
function sweepAlone(row: Row, product: Float32Array, from: number, optimum?: Float32Array): void {
  const { slope } = row
  const n = slope.length
  for (let r = 0; r < product.length / n; r++) {
    for (let j = 0; j < n; j++) slope[j] = product[r * n + j]
    row.improve(from + r)
    for (let j = 0; j < n; j++) product[r * n + j] = slope[j]
    if (optimum) row.optimum(from + r, optimum)
  }
}

/** Visits all rows in the metric G. */
async function sweepTogether(
  row: Row,
  product: Float32Array,
  g: Float32Array,
  products: Multiplier,
  optimum?: Float32Array,
): Promise<void> {
  const { slope } = row
  const n = slope.length
  const out = product.length / n
  const change = new Float64Array(n)
  for (let from = 0; from < out; from += panel) {
    const rows = Math.min(panel, out - from)
    const slopes = await products.multiply(g.subarray(from * out, (from + rows) * out), product, [
      rows,
      out,
      n,
    ])
    for (let r = 0; r < rows; r++) {
      const i = from + r
      const own = g[i * out + i]
      for (let j = 0; j < n; j++) slope[j] = slopes[r * n + j] / own
      change.set(slope)
      row.improve(i)
      for (let j = 0; j < n; j++) {
        change[j] = slope[j] - change[j]
        product[i * n + j] += change[j]
      }
      for (let later = r + 1; later < rows; later++) {
        const x = g[(from + later) * out + i]
        for (let j = 0, at = later * n; j < n; j++) slopes[at + j] += x * change[j]
      }
      if (optimum) row.optimum(i, optimum)
    }
  }
}

/** The coordinates of a row. Everything is divided by G_ii, so that the curvature is H. */
class Row {
  /** Half the gradient with respect to the row's weights. */
  readonly slope: Float64Array
  private readonly direction: Float64Array
  private readonly groups: number

  constructor(
    private readonly codes: Codes,
    private readonly uniform: Uniform,
    private readonly n: number,
    private readonly h: Float32Array,
  ) {
    this.slope = new Float64Array(n)
    this.direction = new Float64Array(n)
    this.groups = n / uniform.groupSize
  }

  /** Writes where the weights of row `i` would lie were each alone not rounded. */
  optimum(i: number, into: Float32Array): void {
    const { n, h, slope, codes } = this
    const { scale, offset, groupSize } = this.uniform
    for (let group = 0; group < this.groups; group++) {
      const index = i * this.groups + group
      const step = factorValue(codes, scale, index)
      const shift = offset ? offset.sign * factorValue(codes, offset, index) : 0
      for (let j = group * groupSize; j < (group + 1) * groupSize; j++)
        into[i * n + j] = step * codes.q[i * n + j] + shift - slope[j] / h[j * n + j]
    }
  }

  /** Visits every number of row `i`. */
  improve(i: number): void {
    const { scale, offset } = this.uniform
    const sign = offset?.sign ?? 1
    const q = (j: number): number => this.codes.q[i * this.n + j]
    for (let group = 0; group < this.groups; group++) {
      const index = i * this.groups + group
      this.improveCodes(i, group, factorValue(this.codes, scale, index))
      this.improveFactor(scale, index, group, q)
      if (offset) this.improveFactor(offset, index, group, () => sign)
    }
  }

  private improveCodes(i: number, group: number, step: number): void {
    if (step === 0) return
    const { slope, n, h } = this
    const { groupSize, range } = this.uniform
    const { q } = this.codes
    for (let j = group * groupSize, at = i * n + j; j < (group + 1) * groupSize; j++, at++) {
      const wanted = Math.floor(q[at] - slope[j] / (h[j * n + j] * step) + 0.5)
      const code = Math.min(range[1], Math.max(range[0], wanted))
      if (code === q[at]) continue
      this.move(j, step * (code - q[at]))
      q[at] = code
    }
  }

  /** The integer of a group, or the f16 of a block that is one group; an f16 that several groups share stays. */
  private improveFactor(factor: Factor, index: number, group: number, along: (j: number) => number): void {
    const { slope, direction, n, h } = this
    const { groupSize } = this.uniform
    const field = factor.group?.field ?? factor.block
    const stored = this.codes[field]
    const unit = factor.group ? blockValue(this.codes, factor, index) : 1
    if (unit === 0) return
    const [from, to] = [group * groupSize, (group + 1) * groupSize]
    let descent = 0
    let curvature = 0
    for (let j = from; j < to; j++) {
      direction[j] = unit * along(j)
      descent += direction[j] * slope[j]
    }
    for (let j = from; j < to; j++) {
      let sum = 0
      for (let k = from, at = j * n + from; k < to; k++, at++) sum += direction[k] * h[at]
      curvature += direction[j] * sum
    }
    if (!(curvature > 0)) return
    const wanted = stored[index] - descent / curvature
    const value = factor.group
      ? clamp(Math.floor(wanted + 0.5), factor.group.range)
      : halfToFloat(floatToHalf(wanted))
    const by = value - stored[index]
    // A step that rounding or the range has made too long, or an f16 that overflowed.
    if (!(by * (2 * descent + by * curvature) < 0)) return
    stored[index] = value
    for (let j = from; j < to; j++) if (direction[j] !== 0) this.move(j, by * direction[j])
  }

  /** Weight `j` has changed. */
  private move(j: number, by: number): void {
    const { slope, h, n } = this
    for (let k = 0, at = j * n; k < n; k++, at++) slope[k] += by * h[at]
  }
}

const clamp = (x: number, [lo, hi]: readonly [number, number]): number => Math.min(hi, Math.max(lo, x))

/** The f16 of the block that a group is in. */
function blockValue(codes: Codes, { block, group }: Factor, index: number): number {
  const stored = codes[block]
  return group ? stored[Math.floor(index / (codes[group.field].length / stored.length))] : stored[index]
}

/** The scale or minimum of a group, as the file holds it. */
function factorValue(codes: Codes, factor: Factor, index: number): number {
  const value = blockValue(codes, factor, index)
  return factor.group ? value * codes[factor.group.field][index] : value
}
