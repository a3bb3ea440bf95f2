/**
 * A model in parts, as llama-gguf-split makes them, without writing them: each part is a header and a range of the whole file. The first
 * one has the metadata; every part says its number, and tensors stay in their order.
 * Source: tools/gguf-split/gguf-split.cpp of llama.cpp.
 */
import { FileError } from '../errors.js'
import { encodeHeader } from './encode.js'
import { padded } from './header.js'
import { Metadata } from './metadata.js'
import type { Gguf } from './reader.js'

export interface SplitPart {
  readonly header: Buffer
  /** Of the whole file. */
  readonly start: number
  readonly end: number
  /** Zeros after that. */
  readonly padding: number
}

const mostParts = 65535
/** Of a tensor in the directory: a name of 63 bytes at most, four sizes, type, offset. */
const mostPlace = 128
/** Of the keys of a part, with the beginning and the padding of a header. */
const splitKeysBytes = 512

/**
 * @param gguf a model in one file
 * @param most bytes of a part; a tensor that is larger has a part of its own
 * @throws FileError for more parts than can be numbered
 */
export function splitParts(gguf: Gguf, most: number): SplitPart[] {
  const groups: (typeof gguf.tensors)[number][][] = []
  // The first header is no longer than that of the whole, but for the split keys; the others name their tensors alone.
  let room = 0
  for (const tensor of gguf.tensors) {
    const bytes = padded(tensor.bytes, gguf.alignment) + mostPlace
    if (bytes > room || groups.length === 0) {
      groups.push([])
      room = most - splitKeysBytes - (groups.length === 1 ? gguf.dataOffset : 0)
    }
    groups.at(-1)?.push(tensor)
    room -= bytes
  }
  if (groups.length > mostParts)
    throw new FileError(gguf.path, `it would have ${groups.length} parts; make them larger`)
  return groups.map((tensors, i) => {
    const metadata = new Metadata(gguf.path, i === 0 ? gguf.metadata : [])
    metadata.set('split.no', { type: 'uint16', value: i })
    metadata.set('split.count', { type: 'uint16', value: groups.length })
    metadata.set('split.tensors.count', { type: 'int32', value: gguf.tensors.length })
    if (i > 0 && gguf.metadata.has('general.alignment'))
      metadata.set('general.alignment', { type: 'uint32', value: gguf.alignment })
    const start = tensors[0].offset
    const { offset, bytes } = tensors[tensors.length - 1]
    const end = offset + bytes
    const placed = tensors.map(({ name, shape, type, offset }) => ({
      name,
      shape,
      type,
      offset: offset - start,
    }))
    const header = encodeHeader(gguf.version, gguf.alignment, metadata, placed)
    return { header, start, end, padding: padded(end - start, gguf.alignment) - (end - start) }
  })
}
