/**
 * Finds weights that spoil a quantization. They are read while libllama quantizes in another process: this one is idle then, and the
 * file is in the page cache. A file of F16 is only read if quantizing fails: libllama detects NaN and infinity itself, and no F16
 * weight is too large for another type.
 */
import { openGguf } from '../gguf/index.js'
import { describeWeight, type LargeWeight, largeWeights } from '../models/large-weights.js'

export interface WeightReport {
  /** The reason why the file cannot be quantized to the type, as the predicate of a sentence. */
  readonly problem?: string
  /** A warning about a weight beside which the others of its block round to zero. */
  readonly warning?: string
}

/** The smallest magnitude that rounds to infinity in f16. */
const f16Limit = 65520
/** Ratio of a weight to the others at which these round to zero on an 8-bit grid. */
const ruinous = 1000
/** Most weights counted. */
const most = 1000

/** @throws FileError if the file cannot be read */
export async function readInputWeights(path: string, type: string): Promise<WeightReport> {
  const gguf = await openGguf(path)
  let largest: LargeWeight | undefined
  let count = 0
  try {
    for await (const weight of largeWeights(gguf)) {
      const size = Math.abs(weight.value)
      if (!Number.isFinite(weight.value)) return { problem: describeWeight(weight) }
      if (type === 'F16' && size >= f16Limit)
        return {
          problem: `${describeWeight(weight)}, which F16 cannot hold; quantize to BF16 or F32 instead`,
        }
      if (weight.tensor.shape.length < 2 || count === most || size < ruinous * weight.others()) continue
      count++
      if (!largest || size > Math.abs(largest.value)) largest = weight
    }
  } finally {
    await gguf.close()
  }
  if (!largest || /^B?F\d+$/.test(type)) return {}
  const others = count > 1 ? ` (and ${count - 1}${count === most ? ' or' : ''} more are as large)` : ''
  return {
    warning: `${path}: ${describeWeight(largest)}${others}, beside which the other weights of its block are rounded to nothing`,
  }
}
