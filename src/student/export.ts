/**
 * Writes a trained model. The bytes of a quantized tensor are packed from the codes of training itself, and every tensor is
 * checked before it is written: libggml's own dequantizer must turn the bytes into exactly the weights of the last forward
 * pass.
 */

import type { Backend, DeviceBuffer } from '../backends/backend.js'
import { aboutTensors, QuenchError } from '../errors.js'
import type { Codes, Format } from '../formats/format.js'
import { unrounded } from '../formats/table.js'
import { createGguf, type Gguf, type Metadata, type TensorInfo } from '../gguf/index.js'
import { dequantizeRows, quantizeRowsAsync, rowSize } from '../llama/index.js'
import { readWeights } from '../models/weights.js'
import type { Parameter } from '../optimizer/parameter.js'
import type { Importance } from './student.js'

/** Counts of the check of an export. */
export interface ExportCheck {
  /** Quantized tensors compared with libggml's dequantizer. */
  tensors: number
  /** Their weights. */
  weights: number
  /** Weights that differ in any bit; an export with one is refused, so this is 0. */
  differing: number
}

/** A tensor to pack. */
interface Packable {
  readonly backend: Backend
  readonly name: string
  /** Absent: it is stored as F32. */
  readonly format: Format | undefined
  /** As the forward pass uses them. */
  readonly weights: DeviceBuffer
  codes(): Promise<Codes>
}

/** The bytes of a tensor, compared with libggml if it is quantized. @throws QuenchError if a weight differs */
export async function packedBytes(p: Packable, check: ExportCheck): Promise<Uint8Array> {
  const used = await p.backend.download(p.weights)
  if (!p.format) return unrounded.encode({ w: used })
  const bytes = p.format.encode(await p.codes())
  const written = dequantizeRows(p.format.type, bytes, used.length)
  let differing = 0
  for (let i = 0; i < used.length; i++) if (!Object.is(written[i], used[i])) differing++
  check.tensors++
  check.weights += used.length
  check.differing += differing
  if (differing > 0)
    throw new QuenchError(
      `${p.name}: ${differing} of ${used.length} weights would not be read back as they were trained; nothing was written. This is a bug in quench`,
    )
  return bytes
}

/** Bytes of f32 that a conversion holds at once. */
const conversionBytes = 64 << 20

/** Bytes of a tensor in another type, by ggml's own quantizer; the same bytes if the type is the same. */
async function convertedBytes(
  gguf: Gguf,
  tensor: TensorInfo,
  type: number,
  importance: Float32Array | undefined,
): Promise<Uint8Array> {
  if (tensor.type === type) return gguf.read(tensor)
  const columns = tensor.shape[0]
  const rows = tensor.elements / columns
  const [from, to] = [tensor.bytes / rows, rowSize(type, columns)]
  const bytes = new Uint8Array(rows * to)
  const step = Math.max(1, Math.floor(conversionBytes / (4 * columns)))
  for (let row = 0; row < rows; row += step) {
    const count = Math.min(step, rows - row)
    const weights = await readWeights(gguf, tensor, row * from, count * from)
    const converted = await quantizeRowsAsync(type, weights, columns, importance).catch((error: unknown) => {
      throw aboutTensors(gguf.path, tensor.name, error)
    })
    bytes.set(converted, row * to)
  }
  return bytes
}

/** Bytes of the tensors of a file in other types. */
export function assignedBytes(gguf: Gguf, types: ReadonlyMap<string, number>): number {
  let bytes = 0
  for (const { name, type, shape, elements } of gguf.tensors)
    bytes += rowSize(types.get(name) ?? type, shape[0]) * (elements / shape[0])
  return bytes
}

/** The bytes of a trained tensor; undefined for one that did not train. */
export type TrainedTensors = (name: string) => Promise<Uint8Array | undefined>

/** The trained tensors of parameters in memory. */
export function trainedParameters(parameters: readonly Parameter[], check: ExportCheck): TrainedTensors {
  const byName = new Map(parameters.map((p) => [p.name, p]))
  return async (name) => {
    const p = byName.get(name)
    return p && packedBytes(p, check)
  }
}

/**
 * Writes `gguf` to `output` with the given metadata and a type for each tensor. Tensors that did not train are converted by
 * ggml's quantizer, with importances if they are given.
 */
export async function exportModel(
  gguf: Gguf,
  output: string,
  metadata: Metadata,
  types: ReadonlyMap<string, number>,
  trained: TrainedTensors,
  importance?: Importance,
): Promise<void> {
  const tensors = gguf.tensors.map((t) => ({
    name: t.name,
    shape: t.shape,
    type: types.get(t.name) ?? t.type,
  }))
  const writer = await createGguf(output, { metadata, tensors })
  try {
    for (const [i, tensor] of gguf.tensors.entries())
      await writer.write(
        tensor.name,
        (await trained(tensor.name)) ??
          (await convertedBytes(gguf, tensor, tensors[i].type, importance?.get(tensor.name))),
      )
    await writer.finish()
  } catch (error) {
    await writer.abort()
    throw error
  }
}
