/**
 * Parses the header of one GGUF file:
 *
 *   'GGUF' | version u32 | tensors u64 | keys u64
 *   keys:    key string | value type u32 | value        array value: item type u32 | count u64 | items
 *   tensors: name string | dimensions u32 | sizes u64 each, row length first | ggml type u32 | offset u64
 *   padding to `general.alignment` (32 if absent), then the data, which offsets are relative to
 *
 * Files are untrusted: a count is accepted only if the remaining bytes can hold it, and everything that later code relies on
 * (sizes, offsets, no overlap) is checked here, once.
 * Source: ggml/include/gguf.h of llama.cpp and docs/gguf.md of ggml.
 */
import { FileError } from '../errors.js'
import type { Cursor } from './cursor.js'
import { type GgufArray, type GgufScalar, type GgufValue, Metadata } from './metadata.js'
import { storedStrings } from './stored-strings.js'
import { quote } from './text.js'
import { ggmlTypes, type ValueType, valueBytes, valueTypes } from './types.js'

/** One tensor of a file. */
export interface TensorInfo {
  readonly name: string
  /** Sizes in ggml's order, row length first; 1 to 4 of them, all positive. */
  readonly shape: readonly number[]
  /** ggml_type id, one of `ggmlTypes`. */
  readonly type: number
  /** Weights: the product of `shape`. */
  readonly elements: number
  /** Stored size. */
  readonly bytes: number
  /** Position of the first byte in its file. */
  readonly offset: number
  /** Index into `Gguf.files`; 0 unless the model is split. */
  readonly file: number
}

export interface Header {
  readonly version: 2 | 3
  readonly alignment: number
  readonly metadata: Metadata
  readonly tensors: TensorInfo[]
  /** Position in the file of the tensor data. */
  readonly dataOffset: number
}

// The largest models have a few thousand tensors, a few hundred keys, and 800,000 strings in vocabulary and merges.
const maxTensors = 2 ** 16
const maxKeys = 2 ** 13
const maxStrings = 2 ** 21
const maxNestedArrays = 2 ** 16
const maxNesting = 8
const maxAlignment = 2 ** 20
const damaged = 'the file is damaged; download it again'

/** Rounds up to a multiple of the alignment. */
export const padded = (bytes: number, alignment: number): number => Math.ceil(bytes / alignment) * alignment

/** Reads a header and checks it against the size of its file. `file` is stored in every `TensorInfo`. */
export function parseHeader(cursor: Cursor, file: number): Header {
  const version = parseVersion(cursor)
  const tensorCount = believable(cursor, cursor.count(), 24, maxTensors, 'tensors')
  const keyCount = believable(cursor, cursor.count(), 13, maxKeys, 'metadata keys')
  const metadata = parseMetadata(cursor, keyCount)
  const alignment = alignmentOf(metadata)
  const stored = parseTensors(cursor, tensorCount)
  const dataOffset = tensorCount > 0 ? padded(cursor.position, alignment) : cursor.position
  const tensors = stored.map((tensor) => ({ ...tensor, offset: dataOffset + tensor.offset, file }))
  checkPlaces(cursor, tensors, dataOffset, alignment)
  return { version, alignment, metadata, tensors, dataOffset }
}

/** `general.alignment` in bytes: a power of two, 32 if absent. */
export function alignmentOf(metadata: Metadata): number {
  const alignment = metadata.number('general.alignment', 32)
  if (!Number.isInteger(Math.log2(alignment)) || alignment < 1 || alignment > maxAlignment) {
    throw new FileError(
      metadata.path,
      `general.alignment is ${alignment} but must be a power of two up to ${maxAlignment}; ${damaged}`,
    )
  }
  return alignment
}

function parseVersion(cursor: Cursor): 2 | 3 {
  if (cursor.size === 0) throw new FileError(cursor.path, 'the file is empty; download it again')
  const magic = Buffer.from(cursor.bytes(Math.min(4, cursor.size))).toString('latin1')
  if (magic === 'vers') {
    throw new FileError(
      cursor.path,
      'this looks like a Git LFS pointer, not the model; fetch it with `git lfs pull`',
    )
  }
  if (magic !== 'GGUF') {
    throw new FileError(cursor.path, `this is not a GGUF file (it starts with ${quote(magic)})`)
  }
  const version = cursor.uint32()
  if (version === 2 || version === 3) return version
  if (version !== 0 && version % 65536 === 0)
    throw new FileError(
      cursor.path,
      'the file is big-endian, which quench does not read; get a little-endian one',
    )
  if (version === 1)
    throw new FileError(cursor.path, 'GGUF version 1 is no longer in use; convert the model again')
  throw new FileError(cursor.path, `GGUF version ${version} is unknown; quench reads versions 2 and 3`)
}

/** The count, if the remaining bytes can hold that many items of at least `itemBytes`, and it is at most `most`. */
function believable(cursor: Cursor, count: number, itemBytes: number, most: number, items: string): number {
  if (count * itemBytes > cursor.remaining) {
    throw new FileError(cursor.path, `it claims ${count} ${items}, more than it has bytes for; ${damaged}`)
  }
  if (count > most) {
    throw new FileError(cursor.path, `it claims ${count} ${items}; quench reads files with up to ${most}`)
  }
  return count
}

function parseMetadata(cursor: Cursor, count: number): Metadata {
  const metadata = new Metadata(cursor.path)
  const inside = { arrays: 0, strings: 0 }
  for (let i = 0; i < count; i++) {
    const key = cursor.string()
    if (key === '') throw new FileError(cursor.path, `metadata key ${i} has no name; ${damaged}`)
    if (metadata.has(key)) {
      throw new FileError(cursor.path, `the metadata key ${quote(key)} is there twice; ${damaged}`)
    }
    const type = parseType(cursor, key)
    metadata.set(key, type === 'array' ? parseArray(cursor, key, inside, 1) : parseScalar(cursor, type))
  }
  return metadata
}

function parseType(cursor: Cursor, key: string): ValueType {
  const id = cursor.uint32()
  const type = valueTypes[id]
  if (type !== undefined) return type
  throw new FileError(
    cursor.path,
    `the metadata key ${quote(key)} has the unknown value type ${id}; ${damaged}`,
  )
}

function parseScalar(cursor: Cursor, type: GgufScalar['type']): GgufValue {
  switch (type) {
    case 'uint64':
    case 'int64':
      return { type, value: cursor[type]() }
    case 'bool':
      return { type, value: cursor.uint8() !== 0 }
    case 'string':
      return { type, value: cursor.string() }
    default:
      return { type, value: cursor[type]() }
  }
}

/** Nested arrays and strings within arrays, over the whole file. */
interface Inside {
  arrays: number
  strings: number
}

/** @param depth nesting depth of this array */
function parseArray(cursor: Cursor, key: string, inside: Inside, depth: number): GgufArray {
  const itemType = parseType(cursor, key)
  const count = cursor.count()
  const bytes = count * valueBytes[itemType]
  if (bytes > cursor.remaining) {
    const claim = `the metadata key ${quote(key)} claims ${count} items, more than the file has bytes for`
    throw new FileError(cursor.path, `${claim}; ${damaged}`)
  }
  const type = 'array'
  switch (itemType) {
    case 'uint8':
      return { type, itemType, value: cursor.bytes(bytes) }
    case 'int8':
      return { type, itemType, value: new Int8Array(cursor.bytes(bytes).buffer) }
    case 'uint16':
      return { type, itemType, value: new Uint16Array(cursor.bytes(bytes).buffer) }
    case 'int16':
      return { type, itemType, value: new Int16Array(cursor.bytes(bytes).buffer) }
    case 'uint32':
      return { type, itemType, value: new Uint32Array(cursor.bytes(bytes).buffer) }
    case 'int32':
      return { type, itemType, value: new Int32Array(cursor.bytes(bytes).buffer) }
    case 'float32':
      return { type, itemType, value: new Float32Array(cursor.bytes(bytes).buffer) }
    case 'float64':
      return { type, itemType, value: new Float64Array(cursor.bytes(bytes).buffer) }
    case 'uint64':
      return { type, itemType, value: new BigUint64Array(cursor.bytes(bytes).buffer) }
    case 'int64':
      return { type, itemType, value: new BigInt64Array(cursor.bytes(bytes).buffer) }
    case 'bool':
      return { type, itemType, value: cursor.bytes(bytes).map((byte) => (byte === 0 ? 0 : 1)) }
    case 'string': {
      inside.strings += count
      if (inside.strings > maxStrings) {
        const problem = `its arrays hold more than ${maxStrings} strings, the last ${count} in ${quote(key)}`
        throw new FileError(cursor.path, `${problem}, and quench reads files with up to that`)
      }
      return storedStrings(cursor.strings(count), count)
    }
    case 'array': {
      inside.arrays += count
      if (depth === maxNesting || inside.arrays > maxNestedArrays) {
        throw new FileError(cursor.path, `the metadata key ${quote(key)} nests too many arrays; ${damaged}`)
      }
      const value: GgufArray[] = []
      for (let i = 0; i < count; i++) value.push(parseArray(cursor, key, inside, depth + 1))
      return { type, itemType, value }
    }
  }
}

/** The tensor directory; offsets are still relative to the start of the data. */
function parseTensors(cursor: Cursor, count: number): Omit<TensorInfo, 'file'>[] {
  const tensors: Omit<TensorInfo, 'file'>[] = []
  const names = new Set<string>()
  for (let i = 0; i < count; i++) {
    const name = cursor.string()
    if (names.has(name))
      throw new FileError(cursor.path, `the tensor ${quote(name)} is there twice; ${damaged}`)
    names.add(name)
    const dimensions = cursor.uint32()
    if (dimensions > 4) {
      throw new FileError(
        cursor.path,
        `the tensor ${quote(name)} has ${dimensions} dimensions, more than 4; ${damaged}`,
      )
    }
    const shape: number[] = []
    for (let d = 0; d < dimensions; d++) shape.push(cursor.count())
    if (dimensions === 0) shape.push(1) // a scalar
    const type = cursor.uint32()
    const { elements, bytes } = tensorSize(cursor.path, name, shape, type)
    tensors.push({ name, shape, type, elements, bytes, offset: cursor.count() })
  }
  return tensors
}

/** Checks a tensor's shape and type, and returns its weights and bytes. FileError naming the file and the tensor. */
export function tensorSize(
  path: string,
  name: string,
  shape: readonly number[],
  type: number,
): { elements: number; bytes: number } {
  const wrong = (problem: string) => new FileError(path, `the tensor ${quote(name)} ${problem}`)
  const layout = ggmlTypes.get(type)
  if (!layout) throw wrong(`has the type ${type}, which quench does not know; it may need a newer version`)
  let elements = 1
  for (const size of shape) {
    if (!Number.isSafeInteger(size) || size < 1) throw wrong(`has the shape ${shape.join(' x ')}; ${damaged}`)
    elements *= size
  }
  const bytes = (elements / layout.blockSize) * layout.blockBytes
  if (!Number.isSafeInteger(elements) || bytes > Number.MAX_SAFE_INTEGER) {
    throw wrong(`is impossibly large (${shape.join(' x ')}); ${damaged}`)
  }
  if (shape[0] % layout.blockSize !== 0) {
    throw wrong(`has rows of ${shape[0]}, which ${layout.name} cannot cut into blocks of ${layout.blockSize}`)
  }
  return { elements, bytes }
}

/** Checks that every tensor lies inside the file, is aligned, and overlaps no other. */
function checkPlaces(cursor: Cursor, tensors: TensorInfo[], dataOffset: number, alignment: number): void {
  let end = dataOffset
  let before: TensorInfo | undefined
  for (const tensor of [...tensors].sort((a, b) => a.offset - b.offset)) {
    const wrong = (problem: string) =>
      new FileError(cursor.path, `the tensor ${quote(tensor.name)} ${problem}`)
    if ((tensor.offset - dataOffset) % alignment !== 0)
      throw wrong(`is not aligned to ${alignment} bytes; ${damaged}`)
    if (tensor.offset < end) throw wrong(`overlaps the tensor ${quote(before!.name)}; ${damaged}`)
    end = tensor.offset + tensor.bytes
    if (!(end <= cursor.size)) {
      throw wrong(`ends at byte ${end} but the file has ${cursor.size}: it is truncated; download it again`)
    }
    before = tensor
  }
}
