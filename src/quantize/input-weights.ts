/**
 * What in the weights of a file spoils its quantization. They are read while libllama quantizes, which leaves the other
 * process's parent idle and the file in the system's cache. A file of F16 is only read if that fails: libllama finds NaN and
 * infinity by itself, and F16 has no weights that are too large for another type.
 */
import { openGguf } from '../gguf/index.js'
import { describeWeight, type LargeWeight, largeWeights } from '../models/large-weights.js'

export interface WeightReport {
  /** Why the file cannot be quantized to the type, as the predicate of a sentence. */
  readonly problem?: string
  /** A weight that costs the others of its block their values. */
  readonly warning?: string
}

/** Half of the distance from f16's largest number to what would follow it: from here on weights become infinite. */
const f16Limit = 65520
/** How many times as large as the others a weight is that leaves them no step of an 8-bit grid. */
const ruinous = 1000
/** So many are counted. */
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
