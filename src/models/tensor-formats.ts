/** The formats of a model's tensors, with scales of whole tensors where llama.cpp reads them. */
import type { Format } from '../formats/format.js'
import { formatOf } from '../formats/table.js'
import { largestOf, scaleNames, tensorScaleOf } from '../formats/tensor-scale.js'
import type { Gguf, TensorInfo } from '../gguf/index.js'
import type { Architecture } from './architecture.js'
import { knownArchitecture } from './table.js'
import { readWeights } from './weights.js'

/** Bytes that are read at once. */
const pieceBytes = 32 << 20

/** Whether a tensor that gets a type gets a scale of its own too. */
function isScaled(architecture: Architecture | undefined, name: string, type: number): boolean {
  const own = /^blk\.\d+\.(.+)$/.exec(name)?.[1]
  return (
    own !== undefined &&
    formatOf(type)?.withTensorScale !== undefined &&
    architecture?.readsScale(own) === true
  )
}

/** The format of a tensor of this type, made of `weights`. */
export function formatFor(
  architecture: Architecture,
  name: string,
  type: number,
  weights: Float32Array,
): Format | undefined {
  const format = formatOf(type)
  if (!format || !isScaled(architecture, name, type)) return format
  return format.withTensorScale?.(tensorScaleOf(format, largestOf(weights)))
}

/** The tensors of a file that get a scale of their own when they are converted to these types. */
export function scaledTensors(
  gguf: Gguf,
  tensors: readonly { readonly name: string; readonly type: number; readonly source: TensorInfo }[],
): Set<string> {
  const architecture = knownArchitecture(gguf)
  const scaled = tensors.filter(
    ({ name, type, source }) =>
      type !== source.type &&
      isScaled(architecture, name, type) &&
      !scaleNames(source.name).some((scale) => gguf.has(scale)),
  )
  return new Set(scaled.map(({ name }) => name))
}

/** The scale that a tensor gets with a type that has such: that of `formatFor`, read piece by piece. */
export async function scaleFor(gguf: Gguf, tensor: TensorInfo, type: number): Promise<number> {
  const rows = tensor.elements / tensor.shape[0]
  const rowBytes = tensor.bytes / rows
  const step = Math.max(1, Math.floor(pieceBytes / rowBytes))
  let largest = 0
  for (let row = 0; row < rows; row += step) {
    const count = Math.min(step, rows - row)
    largest = largestOf(await readWeights(gguf, tensor, row * rowBytes, count * rowBytes), largest)
  }
  return tensorScaleOf(formatOf(type) as Format, largest)
}
