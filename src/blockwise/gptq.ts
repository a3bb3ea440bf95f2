/**
 * Error-compensating rounding (GPTQ, arXiv 2210.17323): the columns of a matrix are rounded one after another, and the columns
 * not rounded yet compensate for the output error of each, in the metric of the second moments H = X'X of the inputs. The grids of
 * the groups are fixed.
 *
 * With U of factor.ts, after column i in its order, w_j -= (w_i - w'_i) / U_ii * U_ij for j > i: at once within a block of
 * columns, and by a matrix product for all columns before the block.
 */
import type { Grid } from '../formats/format.js'
import { copyPart, type InputFactor, type Multiplier, pastePart } from './factor.js'
import type { RoundPanel } from './panels.js'
import { type RowPool, thisThread } from './row-pool.js'

/** Columns of a block. */
const block = 128
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
  const groupSize = weights.length / grid.scales.length
  /** Errors of the columns rounded so far, in their order; those of others are 0. */
  const errors = new Float32Array(rows * n)
  for (let from = 0; from < n; from += block) {
    const size = Math.min(block, n - from)
    const columns = order.subarray(from, from + size)
    const groups = columns.map((column) => Math.floor(column / groupSize))
    /** The values of some rows of a matrix with `width` columns at these columns of them. */
    const gathered = (values: Float32Array, width: number, at: Int32Array, first: number, count: number) => {
      const part = new Float32Array(count * size)
      for (let r = 0, to = 0; r < count; r++)
        for (let i = 0, start = (row + first + r) * width; i < size; i++, to++)
          part[to] = values[start + at[i]]
      return part
    }
    const felt =
      from > 0
        ? await products.multiply(errors, copyPart(inverse, n, 0, n, from, size), [rows, n, size])
        : undefined
    await pool.run(
      rows,
      (first, count): RoundPanel => {
        const left = gathered(weights, n, columns, first, count)
        if (felt) for (let i = 0, at = first * size; i < left.length; i++, at++) left[i] -= felt[at]
        return {
          kind: 'round',
          rows: count,
          width: size,
          levels: grid.levels,
          inverse: copyPart(inverse, n, from, size, from, size),
          left,
          scales: gathered(grid.scales, n / groupSize, groups, first, count),
          mins: grid.mins && gathered(grid.mins, n / groupSize, groups, first, count),
        }
      },
      (first, rounded) => {
        const count = rounded.q.length / size
        pastePart(rounded.errors, errors, n, first, count, from, size)
        for (let r = 0, i = 0; r < count; r++)
          for (let k = 0, start = (row + first + r) * n; k < size; k++, i++)
            q[start + columns[k]] = rounded.q[i]
      },
    )
  }
}
