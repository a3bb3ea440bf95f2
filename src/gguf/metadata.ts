/**
 * The metadata of a GGUF file: an ordered map from keys (`llama.block_count`) to typed values. Every value keeps its stored
 * type, so that a file can be written again unchanged.
 */
import { FileError } from '../errors.js'
import { quote } from './text.js'

interface Scalars {
  uint8: number
  int8: number
  uint16: number
  int16: number
  uint32: number
  int32: number
  float32: number
  float64: number
  uint64: bigint
  int64: bigint
  bool: boolean
  string: string
}

interface Arrays {
  uint8: Uint8Array
  int8: Int8Array
  uint16: Uint16Array
  int16: Int16Array
  uint32: Uint32Array
  int32: Int32Array
  float32: Float32Array
  float64: Float64Array
  uint64: BigUint64Array
  int64: BigInt64Array
  bool: Uint8Array // 0 or 1 each
  string: string[]
  array: GgufArray[]
}

export type GgufScalar = { [T in keyof Scalars]: { type: T; value: Scalars[T] } }[keyof Scalars]
export type GgufArray = {
  [T in keyof Arrays]: { type: 'array'; itemType: T; value: Arrays[T] }
}[keyof Arrays]
/** A value with its stored type. Strings that are not UTF-8 are escaped as described in `text.ts`. */
export type GgufValue = GgufScalar | GgufArray

/**
 * Keys and values in file order. The typed accessors throw a FileError that names the file and the key when the key
 * is missing (and no fallback was given) or holds another type.
 */
export class Metadata implements Iterable<[string, GgufValue]> {
  readonly #values: Map<string, GgufValue>

  /** `path` is only used in error messages. `new Metadata(path, other)` copies another metadata. */
  constructor(
    readonly path: string,
    entries: Iterable<readonly [string, GgufValue]> = [],
  ) {
    this.#values = new Map(entries)
  }

  get size(): number {
    return this.#values.size
  }

  [Symbol.iterator](): IterableIterator<[string, GgufValue]> {
    return this.#values.entries()
  }

  has(key: string): boolean {
    return this.#values.has(key)
  }

  get(key: string): GgufValue | undefined {
    return this.#values.get(key)
  }

  /** Replaces the value at its position, or appends the key. */
  set(key: string, value: GgufValue): this {
    this.#values.set(key, value)
    return this
  }

  delete(key: string): boolean {
    return this.#values.delete(key)
  }

  /** A number of any stored width, integer or float; an integer beyond 2^53 is an error. */
  number(key: string, fallback?: number): number {
    const found = this.#find(key, fallback)
    if (typeof found !== 'object') return found
    const { value } = found
    if (typeof value === 'number') return value
    if (typeof value !== 'bigint') throw this.#wrong(key, 'a number', found)
    const number = Number(value)
    if (!Number.isSafeInteger(number)) throw this.#error(key, `is too large (${value})`)
    return number
  }

  string(key: string, fallback?: string): string {
    const found = this.#find(key, fallback)
    if (typeof found !== 'object') return found
    if (found.type !== 'string') throw this.#wrong(key, 'a string', found)
    return found.value
  }

  boolean(key: string, fallback?: boolean): boolean {
    const found = this.#find(key, fallback)
    if (typeof found !== 'object') return found
    if (found.type !== 'bool') throw this.#wrong(key, 'a boolean', found)
    return found.value
  }

  strings(key: string): string[] {
    const found = this.#find(key)
    if (found.type !== 'array' || found.itemType !== 'string')
      throw this.#wrong(key, 'an array of strings', found)
    return found.value
  }

  /** An array of numbers of any stored width; an integer beyond 2^53 is an error. */
  numbers(key: string): number[] {
    const found = this.#find(key)
    if (found.type !== 'array') throw this.#wrong(key, 'an array of numbers', found)
    switch (found.itemType) {
      case 'array':
      case 'bool':
      case 'string':
        throw this.#wrong(key, 'an array of numbers', found)
      case 'uint64':
      case 'int64':
        return Array.from(found.value, (value) => {
          const number = Number(value)
          if (!Number.isSafeInteger(number))
            throw this.#error(key, `has a value that is too large (${value})`)
          return number
        })
      default:
        return Array.from(found.value)
    }
  }

  /** An array of booleans, stored as booleans or as integers. */
  booleans(key: string): boolean[] {
    const found = this.#find(key)
    if (found.type === 'array' && found.itemType === 'bool') return Array.from(found.value, (v) => v !== 0)
    return this.numbers(key).map((v) => v !== 0)
  }

  #find(key: string): GgufValue
  #find<T>(key: string, fallback: T | undefined): GgufValue | T
  #find<T>(key: string, fallback?: T): GgufValue | T {
    const found = this.#values.get(key) ?? fallback
    if (found === undefined) throw new FileError(this.path, `the metadata key ${quote(key)} is missing`)
    return found
  }

  #wrong(key: string, wanted: string, found: GgufValue): FileError {
    const type = found.type === 'array' ? `an array of ${found.itemType}` : found.type
    return this.#error(key, `should be ${wanted} but is ${type}`)
  }

  #error(key: string, problem: string): FileError {
    return new FileError(this.path, `the metadata key ${quote(key)} ${problem}`)
  }
}
