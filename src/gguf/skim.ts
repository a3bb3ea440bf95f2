/**
 * A header that is read through a narrow opening: the file lies far away, and a vocabulary makes its header some megabytes long. Only the
 * beginning of long arrays is read. Arrays of numbers are passed over by their length. The end of an array of strings is searched for:
 * strings with their lengths in front follow each other in a pattern that nothing else has, so probes tell whether they still lie in
 * the array, and halving finds where it ends. What was found so is checked: all keys and tensors must follow, and the tensors
 * must end where the file does.
 *
 * The result is a header for `parseHeader`, in which the items that were not read are empty or zero.
 */
import { FileError } from '../errors.js'
import { Cursor } from './cursor.js'
import { type Header, padded, parseHeader } from './header.js'
import { type ValueType, valueBytes, valueTypes } from './types.js'

/** A file that is read in ranges. */
export interface RangeSource {
  /** For messages. */
  readonly name: string
  /** In bytes. */
  readonly size: number
  /** The bytes from `start` to before `end`. */
  read(start: number, end: number): Promise<Uint8Array>
}

/** Most bytes that are read of a file. */
export const mostSkimmed = 2 ** 21
const readAhead = 2 ** 16
const probeBytes = 2 ** 12
/** Arrays of fewer strings are read. */
const fewStrings = 2 ** 13
/** Items of longer arrays that are read. */
const keptItems = 64
const mostZeros = 2 ** 26
const longestString = 2 ** 11
const mostKeys = 2 ** 13
const mostTensors = 2 ** 16

/** The header of a file of which at most 2 MiB are read. @param file stored in every `TensorInfo`. @throws FileError */
export async function skimHeader(source: RangeSource, file: number): Promise<Header> {
  const reader = new Reader(source)
  const { bytes, end, searched } = await skim(reader)
  const alignment = 2 ** 20 // not known before it is parsed; only the size of the data matters here
  const parse = (dataBytes: number): Header =>
    parseHeader(new Cursor(source.name, bytes, padded(bytes.length, alignment) + dataBytes), file)
  const header = parse(source.size)
  const dataBytes = source.size - padded(end, header.alignment)
  const used = header.tensors.reduce((most, t) => Math.max(most, t.offset + t.bytes - header.dataOffset), 0)
  if (used > dataBytes)
    throw new FileError(
      source.name,
      `its tensors take ${used} bytes and it has ${dataBytes} after its header: it is truncated`,
    )
  if (searched && dataBytes - used >= header.alignment) throw tooLong(source)
  return header
}

const tooLong = (source: RangeSource): FileError =>
  new FileError(source.name, 'its header cannot be read within 2 MiB; download it with `quench pull`')

class Reader {
  /** What was read, by position. */
  readonly #parts: { readonly start: number; readonly bytes: Buffer }[] = []
  #total = 0

  constructor(readonly source: RangeSource) {}

  /** `length` bytes from `start` on, or fewer at the end of the file. */
  async at(start: number, length: number, ahead = readAhead): Promise<Buffer> {
    const end = Math.min(this.source.size, start + length)
    const known = this.#parts.find((part) => part.start <= start && start < part.start + part.bytes.length)
    if (!known) return this.#load(start, Math.min(this.source.size, start + Math.max(length, ahead)), end)
    const there = known.bytes.subarray(start - known.start, end - known.start)
    if (there.length === end - start) return there
    const rest = await this.at(start + there.length, end - start - there.length, ahead)
    return Buffer.concat([there, rest])
  }

  async #load(start: number, to: number, end: number): Promise<Buffer> {
    const least = Math.max(0, end - start)
    const length = Math.min(to - start, mostSkimmed - this.#total)
    if (length < least) throw tooLong(this.source)
    if (length <= 0) return Buffer.alloc(0)
    const bytes = Buffer.from(await this.source.read(start, start + length))
    this.#total += bytes.length
    this.#parts.unshift({ start, bytes })
    return bytes.subarray(0, least)
  }
}

/** Walks from entry to entry and collects a header. */
async function skim(reader: Reader): Promise<{ bytes: Buffer; end: number; searched: boolean }> {
  const { source } = reader
  const out: Buffer[] = []
  let at = 0
  let searched = false
  let filled = 0
  const truncated = () => new FileError(source.name, 'the file ends inside its header; it is truncated')
  const peek = async (length: number): Promise<Buffer> => {
    const bytes = await reader.at(at, length)
    if (bytes.length < length) throw truncated()
    return bytes
  }
  const take = async (length: number): Promise<Buffer> => {
    const bytes = await peek(length)
    at += length
    out.push(bytes)
    return bytes
  }
  const takeString = async (): Promise<void> => {
    const length = count(await peek(8), 0)
    if (length > mostSkimmed) throw tooLong(source)
    await take(8 + length)
  }
  const takeValue = async (type: ValueType | undefined, depth: number): Promise<void> => {
    if (type === undefined || depth > 8) throw tooLong(source)
    if (type === 'string') return takeString()
    if (type !== 'array') {
      await take(valueBytes[type])
      return
    }
    const head = await take(12)
    const [itemType, items] = [valueTypes[head.readUInt32LE(0)], count(head, 4)]
    if (itemType === undefined || items > 2 ** 32) throw tooLong(source)
    if (itemType === 'array' || (itemType === 'string' && items <= fewStrings)) {
      for (let i = 0; i < items; i++) await takeValue(itemType, depth + 1)
      return
    }
    const kept = Math.min(items, keptItems)
    const fill = (items - kept) * valueBytes[itemType]
    filled += fill
    if (filled > mostZeros) throw tooLong(source)
    if (itemType !== 'string') {
      await take(kept * valueBytes[itemType])
      if (at + fill > source.size) throw truncated()
      at += fill
    } else {
      for (let i = 0; i < kept; i++) await takeString()
      at = await stringsEnd(reader, at, items - kept)
      searched = true
    }
    out.push(Buffer.alloc(fill))
  }
  const head = await take(Math.min(24, source.size))
  if (head.length < 24 || head.toString('latin1', 0, 4) !== 'GGUF' || ![2, 3].includes(head.readUInt32LE(4)))
    return { bytes: head, end: at, searched } // the parser says what is wrong
  const [tensors, keys] = [count(head, 8), count(head, 16)]
  if (keys > mostKeys || tensors > mostTensors) throw tooLong(source)
  for (let key = 0; key < keys; key++) {
    await takeString()
    await takeValue(valueTypes[(await take(4)).readUInt32LE(0)], 0)
  }
  for (let tensor = 0; tensor < tensors; tensor++) {
    await takeString()
    const dimensions = (await take(4)).readUInt32LE(0)
    if (dimensions > 4) throw tooLong(source)
    await take(8 * dimensions + 12)
  }
  return { bytes: Buffer.concat(out), end: at, searched }
}

/** A uint64 that is exact up to 2^53. */
const count = (bytes: Buffer, at: number): number =>
  bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * 2 ** 32

/** Where an array of strings ends of which `items` are still to come at `start`. */
async function stringsEnd(reader: Reader, start: number, items: number): Promise<number> {
  // Narrower than what usually follows a vocabulary, an array of as many numbers.
  const stride = Math.max(probeBytes, 2 * items)
  const inside = async (at: number): Promise<boolean> =>
    hasStrings(await reader.at(at, probeBytes, probeBytes))
  let [low, high] = [start, start + stride]
  while (high < reader.source.size && (await inside(high))) [low, high] = [high, high + stride]
  while (high - low > probeBytes) {
    const middle = Math.floor((low + high) / 2)
    if (await inside(middle)) low = middle
    else high = middle
  }
  const bytes = await reader.at(low, 2 * probeBytes + longestString)
  // Walks that begin within a string run into the right one sooner or later, so the first end that any of them finds is it.
  let end = Number.POSITIVE_INFINITY
  for (let from = 0; from <= (low === start ? 0 : longestString); from++)
    end = Math.min(end, firstEntry(bytes, from) ?? end)
  if (!Number.isFinite(end)) throw tooLong(reader.source)
  return low + end
}

/** The first entry that strings lead to which begin at `from`. */
function firstEntry(bytes: Buffer, from: number): number | undefined {
  for (let at = from; at + 8 <= bytes.length; ) {
    if (isEntry(bytes, at)) return at
    const length = count(bytes, at)
    if (length > longestString) return undefined
    at += 8 + length
  }
  return undefined
}

/** Whether strings follow each other from some offset on, at least 16 of them. */
function hasStrings(bytes: Buffer): boolean {
  for (let start = 0; start <= longestString && start + 8 < bytes.length; start++) {
    let [at, items, full] = [start, 0, 0]
    while (at + 8 <= bytes.length && items < 64) {
      const length = count(bytes, at)
      if (length > longestString) break
      if (length > 0) full++
      items++
      at += 8 + length
    }
    if (items >= 16 && full > items / 2) return true
  }
  return false
}

/** Whether a key with a value begins here, or a tensor, and what follows it can be one too. */
function isEntry(bytes: Buffer, at: number): boolean {
  const next = keyEnd(bytes, at)
  if (next !== undefined) return next === 'far' || keyEnd(bytes, next) !== undefined || isTensor(bytes, next)
  return isTensor(bytes, at)
}

/** The end of a key and its value; `far` for a value that is long; undefined for what is none. */
function keyEnd(bytes: Buffer, at: number): number | 'far' | undefined {
  const key = nameAt(bytes, at)
  if (key === undefined || !/^[a-z0-9_]+(\.[a-zA-Z0-9_-]+)+$/.test(key)) return undefined
  const after = at + 8 + key.length
  if (after + 16 > bytes.length) return undefined
  const type = valueTypes[bytes.readUInt32LE(after)]
  if (type === undefined) return undefined
  if (type === 'array') {
    const item = valueTypes[bytes.readUInt32LE(after + 4)]
    return item !== undefined && bytes.readUInt32LE(after + 12) === 0 ? 'far' : undefined
  }
  if (type !== 'string') return after + 4 + valueBytes[type]
  const length = count(bytes, after + 4)
  if (length > mostSkimmed) return undefined
  const end = after + 12 + length
  return end + 64 > bytes.length ? 'far' : end
}

function isTensor(bytes: Buffer, at: number): boolean {
  const name = nameAt(bytes, at)
  if (name === undefined || !/^[\w.-]+$/.test(name)) return false
  const after = at + 8 + name.length
  if (after + 12 > bytes.length) return false
  const dimensions = bytes.readUInt32LE(after)
  // The first size is not zero, and far below 2^32.
  return (
    dimensions >= 1 &&
    dimensions <= 4 &&
    bytes.readUInt32LE(after + 4) > 0 &&
    bytes.readUInt32LE(after + 8) === 0
  )
}

function nameAt(bytes: Buffer, at: number): string | undefined {
  if (at + 8 > bytes.length) return undefined
  const length = count(bytes, at)
  if (length < 3 || length > 128 || at + 8 + length > bytes.length) return undefined
  return bytes.toString('latin1', at + 8, at + 8 + length)
}
