/**
 * Coordinate descent on the stored numbers of a quantized matrix: its codes, and the scales and minimums of its groups. One after
 * another is set to the value that minimizes
 *
 *   tr(G (W' - T) H (W' - T)')
 *
 * with the others fixed. T (out, n) is the target of the matrix, H (n, n) the second moments of its inputs and G (out, out) those
 * of the loss's gradients at its outputs: the second-order model of the loss with a Kronecker-factored Fisher matrix (K-FAC,
 * arXiv 1503.05671). Nothing is relaxed: every step stays on the grid of the file, and the error never grows.
 *
 * Columns are visited 256 at a time. Their slopes (W' - T) H are a matrix product for all rows, and a step updates those of its row in
 * these columns at once. With G, the slopes G (W' - T) H of 64 rows are a product, and another one updates those of later columns when
 * the columns are done.
 */

import { copyPart, type Multiplier, pastePart } from '../backends/triangular.js'
import type { Codes, GridLayout } from '../formats/format.js'
import { Coordinates } from './coordinates.js'
import { inDescent, panelColumns } from './descent.js'
import type { RefinePanel } from './panels.js'
import { type RowPool, thisThread } from './row-pool.js'

/** Both damped, so that their diagonals are above 0. */
export interface Metric {
  /** H, (n, n). */
  readonly inputs: Float32Array
  /** G, (out, out). Without it, the identity matrix: rows are independent. */
  readonly outputs?: Float32Array
}

/** Rows processed at once: with G, rows that are coupled; without, chunks that bound memory. */
const panelRows = 64
const chunkRows = 1024

/**
 * Improves `codes` in place. Returns, for each weight, the unrounded value that minimizes the error with all others fixed:
 * (out, n), within the cell of its code.
 * @param target T, (out, n)
 * @param weights the dequantized codes, (out, n)
 * @param sweeps number of times that every number is visited
 * @param pool threads for independent rows
 */
export async function refine(
  codes: Codes,
  layout: GridLayout,
  target: Float32Array,
  weights: Float32Array,
  { inputs: h, outputs: g }: Metric,
  sweeps: number,
  products: Multiplier,
  pool: RowPool = thisThread,
): Promise<Float32Array> {
  const n = Math.sqrt(h.length)
  const out = weights.length / n
  const optimum = new Float32Array(weights.length)
  const step = g ? out : chunkRows
  for (let from = 0; from < out; from += step) {
    const rows = Math.min(step, out - from)
    const errors = new Float32Array(rows * n) // W' - T
    for (let i = 0, at = from * n; i < errors.length; i++, at++) errors[i] = weights[at] - target[at]
    const product = g && (await products.multiply(errors, h, [rows, n, n])) // (W' - T) H
    for (let sweep = 1; sweep <= sweeps; sweep++) {
      const visited = { codes, layout, optimum: sweep === sweeps ? optimum : undefined, n, h }
      if (g && product) await sweepTogether(visited, g, product, products)
      else await sweepApart(visited, from, errors, products, pool)
    }
  }
  return optimum
}

/** A matrix in a sweep. */
interface Visited {
  readonly codes: Codes
  readonly layout: GridLayout
  /** Takes the optimum of each weight. */
  readonly optimum: Float32Array | undefined
  readonly n: number
  readonly h: Float32Array
}

/**
 * Visits every number of some independent rows, from row `from` on.
 * @param errors their rows of W' - T, (rows, n), kept current
 */
async function sweepApart(
  { codes, layout, optimum, n, h }: Visited,
  from: number,
  errors: Float32Array,
  products: Multiplier,
  pool: RowPool,
): Promise<void> {
  const rows = errors.length / n
  for (let column = 0; column < n; column += panelColumns) {
    const width = Math.min(panelColumns, n - column)
    const rowsOfH = h.subarray(column * n, (column + width) * n) // H is symmetric
    const slopes = await products.multiply(errors, rowsOfH, [rows, n, width], { transB: true })
    await pool.run(
      rows,
      (row, count): RefinePanel => ({
        kind: 'refine',
        rows: count,
        width,
        layout,
        h: copyPart(h, n, column, width, column, width),
        slopes: slopes.slice(row * width, (row + count) * width),
        codes: mapCodes(codes, (values) => {
          const share = values.length / codes.q.length // a panel has whole blocks
          return copyPart(values, n * share, from + row, count, column * share, width * share)
        }),
        last: optimum !== undefined,
      }),
      (row, result) => {
        const { moved } = result
        const rowsOf = moved.length / width
        for (let r = 0, i = 0; r < rowsOf; r++)
          for (let at = (row + r) * n + column, end = at + width; at < end; at++, i++) errors[at] += moved[i]
        if (optimum && result.optimum)
          pastePart(result.optimum, optimum, n, from + row, rowsOf, column, width)
        for (const [field, values] of Object.entries(result.codes)) {
          const share = codes[field].length / codes.q.length
          pastePart(values, codes[field], n * share, from + row, rowsOf, column * share, width * share)
        }
      },
    )
  }
}

const mapCodes = (codes: Codes, map: (values: Float32Array) => Float32Array): Codes =>
  Object.fromEntries(Object.entries(codes).map(([field, values]) => [field, map(values)]))

/**
 * Visits every number of rows that G, (out, out), couples.
 * @param product (W' - T) H, (out, n), kept current
 */
async function sweepTogether(
  visited: Visited,
  g: Float32Array,
  product: Float32Array,
  products: Multiplier,
): Promise<void> {
  const { n } = visited
  const out = product.length / n
  for (let row = 0; row < out; row += panelRows) {
    const count = Math.min(panelRows, out - row)
    const rowsOfG = g.subarray(row * out, (row + count) * out)
    const slopes = await products.multiply(rowsOfG, product, [count, out, n])
    const own = product.subarray(row * n, (row + count) * n)
    const coupling = copyPart(g, out, row, count, row, count)
    await sweepRows(visited, row, own, products, { slopes, coupling })
  }
}

/**
 * Visits every number of some rows that G couples, from row `from` on.
 * @param product their rows of (W' - T) H, (rows, n), kept current
 * @param slopes G (W' - T) H, (rows, n)
 * @param coupling G among them, (rows, rows)
 */
async function sweepRows(
  { codes, layout, optimum, n, h }: Visited,
  from: number,
  product: Float32Array,
  products: Multiplier,
  { slopes, coupling }: { slopes: Float32Array; coupling: Float32Array },
): Promise<void> {
  const rows = product.length / n
  const coordinates = new Coordinates(codes, layout, n, h, optimum)
  const { slope } = inDescent
  const before = new Float32Array(panelColumns)
  for (let column = 0; column < n; column += panelColumns) {
    const width = Math.min(panelColumns, n - column)
    coordinates.enter(column, width)
    const moved = new Float32Array(rows * width)
    for (let r = 0; r < rows; r++) {
      const own = coupling[r * rows + r]
      for (let j = 0; j < width; j++) slope[j] = slopes[r * n + column + j] / own
      before.set(slope)
      coordinates.improve(from + r, moved.subarray(r * width, (r + 1) * width))
      // Updates the slopes of later rows in these columns through G.
      for (let j = 0; j < width; j++) before[j] = slope[j] - before[j]
      for (let later = r + 1; later < rows; later++) {
        const x = coupling[later * rows + r]
        for (let j = 0, at = later * n + column; j < width; j++) slopes[at + j] += x * before[j]
      }
    }
    const rowsOfH = h.subarray(column * n, (column + width) * n)
    const change = await products.multiply(moved, rowsOfH, [rows, width, n])
    for (let i = 0; i < product.length; i++) product[i] += change[i]
    if (column + width === n) continue
    const felt = await products.multiply(coupling, change, [rows, rows, n])
    for (let r = 0; r < rows; r++)
      for (let j = column + width, at = r * n; j < n; j++) slopes[at + j] += felt[at + j]
  }
}
