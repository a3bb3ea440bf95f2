/**
 * The exact size of a file before it is made: the header that will be written, and the data of every tensor with its padding.
 * Source: llama_model_quantize_impl in src/llama-quant.cpp and ggml/src/gguf.cpp of llama.cpp v0.5.0.
 */
import { encodeHeader } from '../gguf/encode.js'
import { padded, tensorSize } from '../gguf/header.js'
import { type Gguf, type GgufValue, Metadata, type TensorInfo } from '../gguf/index.js'
import { hasZero } from '../gguf/stored-strings.js'
import type { PlannedTensor } from '../llama/index.js'

/** GGUF_DEFAULT_ALIGNMENT, which libllama pads to, whatever `general.alignment` of the input says. */
export const defaultAlignment = 32
const splitKeys = ['split.no', 'split.count', 'split.tensors.count']

/** A tensor of an output and its source, whose name differs if layers are left out. */
export interface Conversion extends PlannedTensor {
  readonly source: TensorInfo
}

/** Bytes of a tensor of the file in another type. */
export const bytesIn = (gguf: Gguf, { name, type, source }: Conversion): number =>
  tensorSize(gguf.path, name, source.shape, type).bytes

/**
 * @param added metadata besides that of the input
 * @param keepSplit whether there are as many files as the input has
 * @returns bytes of all files together
 */
export function plannedSize(
  gguf: Gguf,
  tensors: readonly Conversion[],
  added: ReadonlyMap<string, GgufValue>,
  keepSplit: boolean,
): number {
  const parts = keepSplit ? gguf.files.length : 1
  const sizes = Array.from({ length: parts }, (_, part) => {
    const own = keepSplit ? tensors.filter(({ source }) => source.file === part) : tensors
    const metadata = part === 0 ? outputMetadata(gguf, added) : new Metadata(gguf.path)
    if (parts > 1) {
      for (const key of splitKeys.slice(0, 2)) metadata.set(key, { type: 'uint16', value: 0 })
      metadata.set(splitKeys[2], { type: 'int32', value: 0 })
    }
    return sizeOf(gguf, own, metadata, defaultAlignment, significant)
  })
  return sizes.reduce((sum, size) => sum + size, 0)
}

/** Bytes of a file with this metadata and its tensors in these types. @param stored the sizes of a tensor that the header lists */
export function sizeOf(
  gguf: Gguf,
  tensors: readonly Conversion[],
  metadata: Metadata,
  alignment: number,
  stored: (shape: readonly number[]) => readonly number[],
): number {
  const placed = tensors.map(({ name, type, source }) => ({
    name,
    type,
    shape: stored(source.shape),
    offset: 0,
  }))
  const data = tensors.reduce((sum, tensor) => sum + padded(bytesIn(gguf, tensor), alignment), 0)
  return encodeHeader(3, alignment, metadata, placed).length + data
}

/** What libllama writes of the input's metadata, in values of the same length; it reads texts to their first 0. */
function outputMetadata(gguf: Gguf, added: ReadonlyMap<string, GgufValue>): Metadata {
  const metadata = new Metadata(gguf.path)
  for (const [key, value] of gguf.metadata) {
    if (splitKeys.includes(key)) continue
    if (value.type === 'string') metadata.set(key, { ...value, value: cText(value.value) })
    else if (value.type === 'array' && value.itemType === 'string' && hasZero(value))
      metadata.set(key, { ...value, value: value.value.map(cText) })
    else metadata.set(key, value)
  }
  for (const key of ['general.quantization_version', 'general.file_type'])
    metadata.set(key, { type: 'uint32', value: 0 })
  for (const [key, value] of added) metadata.set(key, value)
  return metadata
}

const cText = (text: string): string => (text.includes('\0') ? text.slice(0, text.indexOf('\0')) : text)

/** A shape without trailing ones, which libggml does not count as dimensions. */
function significant(shape: readonly number[]): readonly number[] {
  return shape.slice(0, Math.max(1, shape.findLastIndex((size) => size > 1) + 1))
}
