/**
 * Error-compensating rounding (GPTQ, arXiv 2210.17323): the columns of a matrix are rounded one after another, and the columns
 * not rounded yet compensate for the output error of each, in the metric of the second moments H = X'X of the inputs. The grids of
 * the groups are fixed.
 *
 * With U of factor.ts, after column i in its order, w_j -= (w_i - w'_i) / U_ii * U_ij for j > i: at once within a panel of columns, by
 * a matrix product for the rest of a block of panels when the panel is done, and by another for all later columns when the block is.
 */

import { copyPart, type Multiplier, pastePart } from '../backends/triangular.js'
import type { Grid } from '../formats/format.js'
import type { InputFactor } from './factor.js'
import type { RoundPanel } from './panels.js'
import { type RowPool, thisThread } from './row-pool.js'

/** Columns whose errors reach each other panel by panel, and columns of a panel. */
const [block, panel] = [512, 128]
/** Rows processed at once. */
const chunk = 1024

/** The codes of a matrix (rows, n) rounded to its grid. */
export async function roundCompensated(
  weights: Float32Array,
  grid: Grid,
  factor: InputFactor,
  products: Multiplier,
  pool: RowPool = thisThread,
): Promise<Float32Array> {
  const n = factor.order.length
  const q = new Float32Array(weights.length)
  for (let row = 0; row < weights.length / n; row += chunk) {
    const rows = Math.min(chunk, weights.length / n - row)
    await roundRows(weights, row, rows, grid, factor, products, pool, q)
  }
  return q
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
  q: Float32Array,
): Promise<void> {
  const n = order.length
  const groups = grid.scales.length / (weights.length / n)
  const groupOf = order.map((column) => Math.floor((column * groups) / n))
  /** The weights yet to be rounded, and the codes of the others, in the order of the factor. */
  const left = new Float32Array(rows * n)
  for (let r = 0, to = 0; r < rows; r++)
    for (let i = 0, start = (row + r) * n; i < n; i++, to++) left[to] = weights[start + order[i]]
  const rounded = new Float32Array(rows * n)
  /** Rounds the columns from `from` on of all rows, and returns their errors, (rows, size). */
  const roundPanel = async (from: number, size: number): Promise<Float32Array> => {
    const errors = new Float32Array(rows * size)
    await pool.run(
      rows,
      (first, count): RoundPanel => {
        const groupsOf = (values: Float32Array) =>
          values.slice((row + first) * groups, (row + first + count) * groups)
        return {
          kind: 'round',
          rows: count,
          width: size,
          levels: grid.levels,
          inverse: copyPart(inverse, n, from, size, from, size),
          left: copyPart(left, n, first, count, from, size),
          scales: groupsOf(grid.scales),
          mins: grid.mins && groupsOf(grid.mins),
          groups: groupOf.slice(from, from + size),
        }
      },
      (first, own) => {
        errors.set(own.errors, first * size)
        pastePart(own.q, rounded, n, first, own.q.length / size, from, size)
      },
    )
    return errors
  }
  /** Lets the columns from `to` to `end` compensate for the errors, (rows, size), of those before them. */
  const compensate = async (errors: Float32Array, to: number, end: number): Promise<void> => {
    if (to === end) return
    const size = errors.length / rows
    const part = copyPart(inverse, n, to - size, size, to, end - to)
    const felt = await products.multiply(errors, part, [rows, size, end - to])
    for (let r = 0, i = 0; r < rows; r++)
      for (let at = r * n + to, last = r * n + end; at < last; at++, i++) left[at] -= felt[i]
  }
  for (let from = 0; from < n; from += block) {
    const end = Math.min(n, from + block)
    const errors = new Float32Array(rows * (end - from))
    for (let column = from; column < end; column += panel) {
      const size = Math.min(panel, end - column)
      const own = await roundPanel(column, size)
      await compensate(own, column + size, end)
      pastePart(own, errors, end - from, 0, rows, column - from, size)
    }
    await compensate(errors, end, n)
  }
  for (let r = 0, from = 0; r < rows; r++)
    for (let i = 0, start = (row + r) * n; i < n; i++, from++) q[start + order[i]] = rounded[from]
}
