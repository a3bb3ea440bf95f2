/**
 * The grid that a matrix is rounded to before its scales are refined. It starts from the reference quantizer's. Where every group of
 * weights has a scale of its own, other scales are searched for: ggml takes those of Q2_0, TQ1_0, TQ2_0 and NVFP4 from the largest
 * weight alone. Where groups share a scale, ggml searches well, and a search of ours
 * costs six times as much and gains little (LOG.md).
 */
import type { Codes, Format } from '../formats/format.js'
import { checkScales } from '../formats/grids.js'
import { inUnits } from '../formats/tensor-scale.js'
import { referenceRows } from '../quantize/reference-rows.js'
import type { SearchPanel } from './panels.js'
import type { RowPool } from './row-pool.js'

/** Rows at once, which bounds the memory of their copies. */
const chunk = 1024

/**
 * The reference quantizer's codes.
 * @param weights (rows, n)
 * @param importance mean squares of the inputs, (n)
 */
export async function importanceCodes(
  format: Format,
  weights: Float32Array,
  importance: Float32Array,
): Promise<Codes> {
  const units = inUnits(format, weights)
  const codes = format.decode(await referenceRows(format.type, units, importance.length, importance))
  checkScales(format, codes)
  return codes
}

/** Those, or better ones. */
export async function searchedCodes(
  format: Format,
  weights: Float32Array,
  importance: Float32Array,
  pool: RowPool,
): Promise<Codes> {
  const start = await importanceCodes(format, weights, importance)
  const { name, grid } = format
  if (!grid || grid.scale.group) return start
  const width = importance.length
  const rows = weights.length / width
  const perRow = Object.entries(format.fields).map(
    ([field, values]) => [field, (values * width) / format.blockSize] as const,
  )
  const found: Codes = Object.fromEntries(perRow.map(([field, n]) => [field, new Float32Array(rows * n)]))
  for (let from = 0; from < rows; from += chunk) {
    const part = (row: number, count: number): SearchPanel => ({
      kind: 'search',
      format: { name, grid },
      width,
      weights: weights.slice((from + row) * width, (from + row + count) * width),
      importance: importance.slice(),
      codes: Object.fromEntries(
        perRow.map(([field, n]) => [field, start[field].slice((from + row) * n, (from + row + count) * n)]),
      ),
    })
    await pool.run(Math.min(chunk, rows - from), part, (row, { codes }) => {
      for (const [field, n] of perRow) found[field].set(codes[field], (from + row) * n)
    })
  }
  return found
}
