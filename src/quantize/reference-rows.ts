/** Rows of weights by ggml's reference quantizer, of every type, with or without importances. */
import { quantizeRowsAsync } from '../llama/index.js'
import { isUseless } from './needs-importance.js'

/**
 * The bytes of weights (rows, columns). Types that ggml does not quantize to without importances, or badly, get equal ones.
 * @param importance mean squares of the inputs, (columns)
 */
export function referenceRows(
  type: number,
  weights: Float32Array,
  columns: number,
  importance?: Float32Array,
  threads?: number,
): Promise<Uint8Array> {
  const own = importance ?? (isUseless(type) ? new Float32Array(columns).fill(1) : undefined)
  return quantizeRowsAsync(type, weights, columns, own, threads)
}
