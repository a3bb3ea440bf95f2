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
 * The slope G (W' - T) H of a panel of rows is a matrix product. Within the panel, columns are visited 256 at a time: what a
 * step changes is followed within these columns at once, and for all others by another matrix product when they are done.
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

/** Rows that are worked on at once: with G, each of them feels the others; without, in turns, so that little memory is used. */
const panelRows = 64
const chunkRows = 1024
/** A scale that would change by less than this share stays: it is not worth the time. */
const smallest = 0.004
/** Columns whose slopes are followed at once: a multiple of every block's size. */
const panelColumns = 256

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
  { inputs: h, outputs: g }: Metric,
  sweeps: number,
  products: Multiplier,
): Promise<Float32Array> {
  const n = Math.sqrt(h.length)
  const out = weights.length / n
  const optimum = new Float32Array(weights.length)
  const coordinates = new Coordinates(codes, uniform, n, h, optimum)
  const step = g ? out : chunkRows
  for (let from = 0; from < out; from += step) {
    const rows = Math.min(step, out - from)
    const errors = new Float32Array(rows * n)
    for (let i = 0; i < errors.length; i++) errors[i] = weights[from * n + i] - target[from * n + i]
    const product = await products.multiply(errors, h, [rows, n, n]) // (W' - T) H
    for (let sweep = 0; sweep < sweeps; sweep++)
      if (!g) await sweepRows(coordinates, from, product, products)
      else
        for (let row = 0; row < out; row += panelRows) {
          const count = Math.min(panelRows, out - row)
          const rowsOfG = g.subarray(row * out, (row + count) * out)
          const slopes = await products.multiply(rowsOfG, product, [count, out, n])
          const own = product.subarray(row * n, (row + count) * n)
          const coupling = new Float32Array(count * count)
          for (let r = 0; r < count; r++)
            for (let k = 0; k < count; k++) coupling[r * count + k] = rowsOfG[r * out + row + k]
          await sweepRows(coordinates, row, own, products, { slopes, coupling })
        }
  }
  return optimum
}

/**
 * Visits every number of some rows, from row `from` on.
 * @param product their rows of (W' - T) H, (rows, n), kept current
 * @param together their slopes G (W' - T) H, and G among them, (rows, rows); without it G is the unit matrix
 */
async function sweepRows(
  coordinates: Coordinates,
  from: number,
  product: Float32Array,
  products: Multiplier,
  together?: { slopes: Float32Array; coupling: Float32Array },
): Promise<void> {
  const { n, h, slope } = coordinates
  const rows = product.length / n
  const slopes = together?.slopes ?? product
  const before = new Float64Array(panelColumns)
  for (let column = 0; column < n; column += panelColumns) {
    const width = Math.min(panelColumns, n - column)
    coordinates.enter(column, width)
    const moved = new Float32Array(rows * width)
    for (let r = 0; r < rows; r++) {
      const own = together ? together.coupling[r * rows + r] : 1
      for (let j = 0; j < width; j++) slope[j] = slopes[r * n + column + j] / own
      before.set(slope)
      coordinates.improve(from + r, moved.subarray(r * width, (r + 1) * width))
      if (!together) continue
      // The rows that come later feel it through G, in these columns at once.
      for (let j = 0; j < width; j++) before[j] = slope[j] - before[j]
      for (let later = r + 1; later < rows; later++) {
        const x = together.coupling[later * rows + r]
        for (let j = 0, at = later * n + column; j < width; j++) slopes[at + j] += x * before[j]
      }
    }
    const change = await products.multiply(moved, h.subarray(column * n, (column + width) * n), [
      rows,
      width,
      n,
    ])
    for (let i = 0; i < product.length; i++) product[i] += change[i]
    if (!together || column + width === n) continue
    const felt = await products.multiply(together.coupling, change, [rows, rows, n])
    for (let r = 0; r < rows; r++)
      for (let j = column + width, at = r * n; j < n; j++) slopes[at + j] += felt[at + j]
  }
}

/** The numbers of a row in a panel of columns. Everything is divided by G_ii, so that the curvature is H. */
class Coordinates {
  /** Half the gradient with respect to the row's weights in the panel. */
  readonly slope = new Float64Array(panelColumns)
  private readonly direction = new Float64Array(panelColumns)
  private readonly block: Float32Array
  private column = 0
  private width = 0
  private moved: Float32Array = new Float32Array(0)

  constructor(
    private readonly codes: Codes,
    private readonly uniform: Uniform,
    readonly n: number,
    readonly h: Float32Array,
    private readonly optimum: Float32Array,
  ) {
    this.block = new Float32Array(panelColumns * panelColumns)
  }

  /** Goes to a panel. */
  enter(column: number, width: number): void {
    this.column = column
    this.width = width
    for (let j = 0; j < width; j++) {
      const at = (column + j) * this.n + column
      this.block.set(this.h.subarray(at, at + width), j * width)
    }
  }

  /** Visits every number of row `i` in the panel; adds how far each weight has moved to `moved`. */
  improve(i: number, moved: Float32Array): void {
    this.moved = moved
    const { scale, offset, groupSize } = this.uniform
    const first = (i * this.n + this.column) / groupSize
    const at = i * this.n + this.column
    const q = (j: number): number => this.codes.q[at + j]
    const sign = offset?.sign ?? 1
    for (let group = 0; group < this.width / groupSize; group++) {
      this.improveCodes(at, group, factorValue(this.codes, scale, first + group))
      this.improveFactor(scale, first + group, group, q)
      if (offset) this.improveFactor(offset, first + group, group, () => sign)
    }
    for (let group = 0; group < this.width / groupSize; group++) this.writeOptimum(at, group, first + group)
  }

  private improveCodes(at: number, group: number, step: number): void {
    if (step === 0) return
    const { slope, width, block } = this
    const { groupSize, range } = this.uniform
    const { q } = this.codes
    for (let j = group * groupSize; j < (group + 1) * groupSize; j++) {
      const wanted = Math.floor(q[at + j] - slope[j] / (block[j * width + j] * step) + 0.5)
      const code = Math.min(range[1], Math.max(range[0], wanted))
      if (code === q[at + j]) continue
      this.move(j, step * (code - q[at + j]))
      q[at + j] = code
    }
  }

  /** The integer of a group, or the f16 of a block that is one group; an f16 that several groups share stays. */
  private improveFactor(factor: Factor, index: number, group: number, along: (j: number) => number): void {
    const { slope, direction, width, block } = this
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
      for (let k = from, at = j * width + from; k < to; k++, at++) sum += direction[k] * block[at]
      curvature += direction[j] * sum
    }
    if (!(curvature > 0)) return
    const wanted = stored[index] - descent / curvature
    const value = factor.group
      ? clamp(Math.floor(wanted + 0.5), factor.group.range)
      : halfToFloat(floatToHalf(wanted))
    const by = value - stored[index]
    if (Math.abs(by) < smallest * Math.abs(stored[index])) return
    // A step that rounding or the range has made too long, or an f16 that overflowed.
    if (!(by * (2 * descent + by * curvature) < 0)) return
    stored[index] = value
    for (let j = from; j < to; j++) if (direction[j] !== 0) this.move(j, by * direction[j])
  }

  /** Weight `j` of the panel has changed. */
  private move(j: number, by: number): void {
    const { slope, block, width } = this
    this.moved[j] += by
    for (let k = 0, at = j * width; k < width; k++, at++) slope[k] += by * block[at]
  }

  /** Where the weights of a group would lie were each alone not rounded. */
  private writeOptimum(at: number, group: number, index: number): void {
    const { codes, slope, block, width, optimum } = this
    const { scale, offset, groupSize } = this.uniform
    const step = factorValue(codes, scale, index)
    const shift = offset ? offset.sign * factorValue(codes, offset, index) : 0
    for (let j = group * groupSize; j < (group + 1) * groupSize; j++)
      optimum[at + j] = step * codes.q[at + j] + shift - slope[j] / block[j * width + j]
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
