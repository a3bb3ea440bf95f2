/**
 * Error-compensating rounding (GPTQ, arXiv 2210.17323): the columns of a matrix are rounded one after another, and the columns
 * not rounded yet compensate for the output error of each, in the metric of the second moments H = X'X of the inputs. The grids of
 * the groups are fixed.
 *
 * With U of factor.ts, after column i in its order, w_j -= (w_i - w'_i) / U_ii * U_ij for j > i: at once within a block of
 * columns, and by a matrix product for those after it.
 */
import type { Grid } from '../formats/format.js'
import { copyPart, type InputFactor, type Multiplier } from './factor.js'
import type { RoundPanel } from './panels.js'
import { type RowPool, thisThread } from './row-pool.js'

/** Columns of a block. */
const block = 128
/** Rows processed at once. */
const chunk = 1024

export interface Rounded {
  /** The value of each weight when it was rounded: rounding it to the grid gives `q`. */
  readonly weights: Float32Array
  readonly q: Float32Array
}

/** Rounds a matrix (rows, n) to its grid. */
export async function roundCompensated(
  weights: Float32Array,
  grid: Grid,
  factor: InputFactor,
  products: Multiplier,
  pool: RowPool = thisThread,
): Promise<Rounded> {
  const n = factor.order.length
  const result = { weights: new Float32Array(weights.length), q: new Float32Array(weights.length) }
  for (let row = 0; row < weights.length / n; row += chunk) {
    const rows = Math.min(chunk, weights.length / n - row)
    await roundRows(weights, row, rows, grid, factor, products, pool, result)
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
  pool: RowPool,
  result: Rounded,
): Promise<void> {
  const n = order.length
  const groupSize = weights.length / grid.scales.length
  const left = new Float32Array(rows * n) // weights yet to be rounded, in the order of the columns
  for (let r = 0; r < rows; r++)
    for (let i = 0; i < n; i++) left[r * n + i] = weights[(row + r) * n + order[i]]
  for (let from = 0; from < n; from += block) {
    const size = Math.min(block, n - from)
    const to = from + size
    const errors = new Float32Array(rows * size)
    const groupOf = (r: number, i: number): number =>
      Math.floor(((row + r) * n + order[from + i]) / groupSize)
    const gathered = (values: Float32Array, first: number, count: number): Float32Array => {
      const part = new Float32Array(count * size)
      for (let r = 0; r < count; r++)
        for (let i = 0; i < size; i++) part[r * size + i] = values[groupOf(first + r, i)]
      return part
    }
    await pool.run(
      rows,
      (first, count): RoundPanel => ({
        kind: 'round',
        rows: count,
        width: size,
        levels: grid.levels,
        inverse: copyPart(inverse, n, from, size, from, size),
        left: copyPart(left, n, first, count, from, size),
        scales: gathered(grid.scales, first, count),
        mins: grid.mins && gathered(grid.mins, first, count),
      }),
      (first, rounded) => {
        errors.set(rounded.errors, first * size)
        for (let r = 0; r < rounded.errors.length / size; r++)
          for (let i = 0; i < size; i++) {
            const at = (row + first + r) * n + order[from + i]
            result.weights[at] = rounded.weights[r * size + i]
            result.q[at] = rounded.q[r * size + i]
          }
      },
    )
    if (to === n) break
    const change = await products.multiply(errors, inverse.subarray(from * n, to * n), [rows, size, n])
    for (let r = 0; r < rows; r++) for (let j = to; j < n; j++) left[r * n + j] -= change[r * n + j]
  }
}

/**
 * The step from a matrix (out, n) to the least-squares solution for its target products, regularized towards the matrix:
 * (Y'X - W X'X) H^-1, with H the moments behind `factor`, shrunk towards their diagonal.
 * @param wanted Y'X, (out, n)
 * @param inputs X'X, (n, n)
 */
export async function leastSquaresStep(
  weights: Float32Array,
  wanted: Float32Array,
  inputs: Float32Array,
  { order, inverse }: InputFactor,
  products: Multiplier,
): Promise<Float32Array> {
  const n = order.length
  const step = new Float32Array(weights.length)
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
      for (let i = 0; i < n; i++) step[(row + r) * n + order[i]] = change[r * n + i]
  }
  return step
}
