/**
 * Arrays of strings as a file stores them: each string with its length in front. Vocabularies have hundreds of thousands, and most
 * commands read none of them, so they are decoded when the array is first asked for; until then a header can be written from the
 * stored bytes.
 */
import type { GgufArray } from './metadata.js'
import { decodeText } from './text.js'

type Strings = Extract<GgufArray, { itemType: 'string' }>

interface Stored {
  readonly bytes: Buffer
  readonly count: number
}

const stored = new WeakMap<GgufArray, Stored>()

/** An array of `count` strings. @param bytes all of them, each with its length in front; kept */
export function storedStrings(bytes: Buffer, count: number): Strings {
  const array: Strings = { type: 'array', itemType: 'string', value: [] }
  stored.set(array, { bytes, count })
  const set = (value: string[]): string[] => {
    stored.delete(array) // the caller may change them
    Object.defineProperty(array, 'value', { value, writable: true, enumerable: true, configurable: true })
    return value
  }
  Object.defineProperty(array, 'value', {
    get: () => set(Array.from(places(bytes, count), ([start, end]) => decodeText(bytes, start, end))),
    set,
    enumerable: true,
    configurable: true,
  })
  return array
}

/** The number of strings and their stored bytes, if they were not decoded yet. */
export const storedBytes = (array: GgufArray): Stored | undefined => stored.get(array)

/** Whether a string of an array has a character with the code 0. */
export function hasZero(array: Strings): boolean {
  const { bytes, count } = stored.get(array) ?? {}
  if (!bytes || count === undefined) return array.value.some((text) => text.includes('\0'))
  for (const [start, end] of places(bytes, count))
    for (let at = start; at < end; at++) if (bytes[at] === 0) return true
  return false
}

/** Where each string begins and ends. */
function* places(bytes: Buffer, count: number): Generator<readonly [start: number, end: number]> {
  let at = 0
  for (let i = 0; i < count; i++) {
    const start = at + 8
    at = start + bytes.readUInt32LE(at) // the upper half is 0: a header has at most 128 MiB
    yield [start, at]
  }
}
