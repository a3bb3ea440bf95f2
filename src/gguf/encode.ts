/**
 * Encodes the header of a GGUF file: the inverse of `header.ts`. A value out of range of its type is an error and is not
 * wrapped.
 */
import { FileError } from '../errors.js'
import { padded } from './header.js'
import type { GgufArray, GgufValue, Metadata } from './metadata.js'
import { storedBytes } from './stored-strings.js'
import { encodeText, quote } from './text.js'
import { type ValueType, valueTypes } from './types.js'

/** A tensor of a file to be written; `offset` is relative to the start of the data. */
export interface PlacedTensor {
  readonly name: string
  readonly shape: readonly number[]
  readonly type: number
  readonly offset: number
}

/** Everything before the tensor data, padded to `alignment`. */
export function encodeHeader(
  version: number,
  alignment: number,
  metadata: Metadata,
  tensors: readonly PlacedTensor[],
): Buffer {
  const sink = new Sink()
  sink.raw(Buffer.from('GGUF'))
  sink.uint32(version)
  sink.count(tensors.length)
  sink.count(metadata.size)
  for (const [key, value] of metadata) {
    try {
      sink.string(key)
      sink.value(value)
    } catch (error) {
      if (!(error instanceof RangeError)) throw error
      throw new FileError(metadata.path, `the metadata key ${quote(key)} ${error.message}`)
    }
  }
  for (const tensor of tensors) {
    sink.string(tensor.name)
    sink.uint32(tensor.shape.length)
    for (const size of tensor.shape) sink.count(size)
    sink.uint32(tensor.type)
    sink.count(tensor.offset)
  }
  return sink.end(alignment)
}

/** A growing buffer. */
class Sink {
  #bytes = Buffer.alloc(2 ** 16)
  #length = 0

  uint32(value: number): void {
    const at = this.#room(4)
    this.#bytes.writeUInt32LE(value, at)
  }

  count(value: number): void {
    const at = this.#room(8)
    this.#bytes.writeBigUInt64LE(BigInt(value), at)
  }

  string(text: string): void {
    const bytes = encodeText(text)
    if (!bytes) throw new RangeError('has text that is not Unicode (a lone surrogate)')
    this.count(bytes.length)
    this.raw(bytes)
  }

  raw(bytes: Uint8Array): void {
    const at = this.#room(bytes.length)
    this.#bytes.set(bytes, at)
  }

  value(value: GgufValue): void {
    this.#type(value.type)
    this.#content(value)
  }

  /** The bytes, padded with zeros. */
  end(alignment: number): Buffer {
    const length = padded(this.#length, alignment)
    this.#room(length - this.#length)
    return this.#bytes.subarray(0, length)
  }

  #type(type: ValueType): void {
    this.uint32(valueTypes.indexOf(type))
  }

  #content(value: GgufValue): void {
    if (value.type === 'string') this.string(value.value)
    else if (value.type === 'array') this.#array(value)
    else if (value.type === 'bool') this.raw(Uint8Array.of(Number(value.value)))
    else this.#number(value.type, value.value)
  }

  #array(array: GgufArray): void {
    const stored = storedBytes(array)
    this.#type(array.itemType)
    if (stored) {
      this.count(stored.count)
      this.raw(stored.bytes)
      return
    }
    const { itemType, value } = array
    this.count(value.length)
    if (itemType === 'string') for (const text of value) this.string(text)
    else if (itemType === 'array') for (const item of value) this.#array(item)
    else this.raw(new Uint8Array(value.buffer, value.byteOffset, value.byteLength))
  }

  #number(type: keyof typeof stored, value: number | bigint): void {
    const array = stored[type](value)
    const exact = type === 'float32' || type === 'float64' || array[0] === value
    if (!exact) throw new RangeError(`holds ${value}, which is no ${type}`)
    this.raw(new Uint8Array(array.buffer))
  }

  /** Grows by `length` bytes and returns their offset. */
  #room(length: number): number {
    const at = this.#length
    this.#length += length
    if (this.#length > this.#bytes.length) {
      const larger = Buffer.alloc(Math.max(this.#length, 2 * this.#bytes.length))
      larger.set(this.#bytes.subarray(0, at))
      this.#bytes = larger
    }
    return at
  }
}

/** Encodes one number. */
const stored = {
  uint8: (value: number | bigint) => Uint8Array.of(Number(value)),
  int8: (value: number | bigint) => Int8Array.of(Number(value)),
  uint16: (value: number | bigint) => Uint16Array.of(Number(value)),
  int16: (value: number | bigint) => Int16Array.of(Number(value)),
  uint32: (value: number | bigint) => Uint32Array.of(Number(value)),
  int32: (value: number | bigint) => Int32Array.of(Number(value)),
  float32: (value: number | bigint) => Float32Array.of(Number(value)),
  float64: (value: number | bigint) => Float64Array.of(Number(value)),
  uint64: (value: number | bigint) => BigUint64Array.of(BigInt(value)),
  int64: (value: number | bigint) => BigInt64Array.of(BigInt(value)),
}
