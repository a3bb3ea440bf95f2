/**
 * Error-compensating rounding (GPTQ, arXiv 2210.17323): the columns of a matrix are rounded one after another, and what
 * rounding one does to the output is made up for by the columns that are not rounded yet, in the metric of the second
 * moments H = X'X of the inputs. The grids of the groups stay as they are.
 *
 * With U of factor.ts, after column i in its order, w_j -= (w_i - w'_i) / U_ii * U_ij for j > i: at once within a block of
 * columns, and as a matrix product for those behind it.
 */
import type { Grid } from '../formats/format.js'
import type { InputFactor, Multiplier } from './factor.js'

/** Columns of a block. */
const block = 128
/** Rows that are worked on at once. */
const chunk = 1024

export interface Rounded {
  /** The weights as they were when each was rounded: rounding them to the grid gives `q`. */
  readonly weights: Float32Array
  readonly q: Float32Array
}

/** Rounds a matrix (rows, n) to its grid. */
export async function roundCompensated(
  weights: Float32Array,
  grid: Grid,
  factor: InputFactor,
  products: Multiplier,
): Promise<Rounded> {
  const n = factor.order.length
  const result = { weights: new Float32Array(weights.length), q: new Float32Array(weights.length) }
  for (let row = 0; row < weights.length / n; row += chunk) {
    const rows = Math.min(chunk, weights.length / n - row)
    await roundRows(weights, row, rows, grid, factor, products, result)
  }
  return result
}

/** Rounds `rows` rows from `row` on. */
async function roundRows(
  weights: Float32Array,
  row: number,
  rows: number,
  grid: Grid,
  { order, inverse }: InputFactor,
  products: Multiplier,
  result: Rounded,
): Promise<void> {
  const n = order.length
  const groupSize = weights.length / grid.scales.length
  const [lo, hi] = grid.range
  const left = new Float32Array(rows * n) // what is left to round, in the order of the columns
  for (let r = 0; r < rows; r++)
    for (let i = 0; i < n; i++) left[r * n + i] = weights[(row + r) * n + order[i]]
  for (let from = 0; from < n; from += block) {
    const size = Math.min(block, n - from)
    const to = from + size
    const errors = new Float32Array(rows * size)
    for (let r = 0; r < rows; r++)
      for (let i = from; i < to; i++) {
        const at = (row + r) * n + order[i]
        const group = Math.floor(at / groupSize)
        const scale = grid.scales[group]
        const min = grid.mins?.[group] ?? 0
        const w = left[r * n + i]
        const q = scale === 0 ? 0 : Math.min(hi, Math.max(lo, Math.floor((w + min) / scale + 0.5)))
        result.weights[at] = w
        result.q[at] = q
        const error = (w - (scale * q - min)) / inverse[i * n + i]
        errors[r * size + i - from] = error
        for (let j = i + 1; j < to; j++) left[r * n + j] -= error * inverse[i * n + j]
      }
    if (to === n) break
    const change = await products.multiply(errors, inverse.subarray(from * n, to * n), [rows, size, n])
    for (let r = 0; r < rows; r++) for (let j = to; j < n; j++) left[r * n + j] -= change[r * n + j]
  }
}

/**
 * The least-squares solution for what a matrix (out, n) should give, drawn towards what it is: W + (Y'X - W X'X) H^-1, with H
 * the damped moments that `factor` is of.
 * @param wanted Y'X, (out, n)
 * @param inputs X'X, (n, n)
 */
export async function leastSquares(
  weights: Float32Array,
  wanted: Float32Array,
  inputs: Float32Array,
  { order, inverse }: InputFactor,
  products: Multiplier,
): Promise<Float32Array> {
  const n = order.length
  const target = weights.slice()
  for (let row = 0; row < weights.length / n; row += chunk) {
    const rows = Math.min(chunk, weights.length / n - row)
    const shape = [rows, n, n] as const
    const own = weights.subarray(row * n, (row + rows) * n)
    const given = await products.multiply(own, inputs, shape)
    const missing = new Float32Array(rows * n)
    for (let r = 0; r < rows; r++)
      for (let i = 0; i < n; i++)
        missing[r * n + i] = wanted[(row + r) * n + order[i]] - given[r * n + order[i]]
    const half = await products.multiply(missing, inverse, shape, { transB: true })
    const change = await products.multiply(half, inverse, shape)
    for (let r = 0; r < rows; r++)
      for (let i = 0; i < n; i++) target[(row + r) * n + order[i]] += change[r * n + i]
  }
  return target
}
