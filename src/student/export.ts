/**
 * The tensors of a trained model as they are written. The bytes of a quantized tensor are packed from the codes of training itself,
 * and every tensor is checked before it is written: libggml's own dequantizer must turn the bytes into exactly the weights of the
 * last forward pass.
 */

import type { Backend, DeviceBuffer } from '../backends/backend.js'
import { QuenchError } from '../errors.js'
import type { Codes, Format } from '../formats/format.js'
import { unrounded } from '../formats/table.js'
import { outOfUnits } from '../formats/tensor-scale.js'
import type { Gguf } from '../gguf/index.js'
import { dequantizeRows, rowSize } from '../llama/index.js'
import type { Parameter } from '../optimizer/parameter.js'

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
  const written = outOfUnits(p.format, dequantizeRows(p.format.type, bytes, used.length))
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
