/**
 * The only reader of text files, for every purpose: UTF-8, with or without a byte order mark, or UTF-16 with one. Anything
 * else is refused instead of being decoded as text that nobody wrote, since the perplexity of such text still looks like a
 * measurement.
 */
import { isUtf8 } from 'node:buffer'
import { FileError } from '../errors.js'
import { readInput } from '../input-file.js'

/** A JavaScript string holds at most about half a billion characters. */
const mostTextBytes = 500_000_000

/** The text of a file. @throws FileError for a file that is not text, or not a regular file */
export async function readText(path: string): Promise<string> {
  return decodeText(path, await readInput(path, mostTextBytes))
}

/** Whether bytes begin with the byte order mark of UTF-8 or UTF-16, and are therefore text. */
export const hasByteOrderMark = (bytes: Uint8Array): boolean =>
  [utf8Mark, utf16le, utf16be].some((mark) => startsWith(bytes, mark))

/** Decodes bytes to text without the byte order mark. @throws FileError for bytes that are not text */
export function decodeText(path: string, bytes: Buffer): string {
  if (startsWith(bytes, utf32le) || startsWith(bytes, utf32be))
    throw new FileError(path, `it is UTF-32; ${convert('UTF-32')}`)
  if (startsWith(bytes, utf16le)) return decodeUtf16(path, bytes.subarray(2))
  if (startsWith(bytes, utf16be)) {
    if (bytes.length % 2 !== 0) throw cutUtf16(path)
    return decodeUtf16(path, Buffer.from(bytes.subarray(2)).swap16())
  }
  const zero = bytes.indexOf(0)
  if (zero >= 0) throw new FileError(path, zeroProblem(bytes, zero))
  if (!isUtf8(bytes)) throw new FileError(path, utf8Problem(bytes))
  return new TextDecoder().decode(bytes)
}

/** A line of a JSON Lines file. */
export interface JsonLine {
  /** Starts at 1. */
  readonly number: number
  readonly value: unknown
}

/**
 * The values of a JSON Lines text; empty lines are skipped.
 * @param longest limit of characters per line; @param deepest limit of nested lists and objects
 * @throws FileError for a line that is not JSON, or beyond a limit
 */
export function* jsonLines(
  path: string,
  text: string,
  { longest = Number.POSITIVE_INFINITY, deepest = 64 }: { longest?: number; deepest?: number } = {},
): Generator<JsonLine> {
  let number = 0
  for (let start = 0; start < text.length; ) {
    number++
    const next = text.indexOf('\n', start)
    const end = next < 0 ? text.length : next
    const wrong = (problem: string) => new FileError(path, `line ${number}: ${problem}`)
    if (end - start > longest) throw wrong(`it has more than ${longest} characters`)
    const line = text.slice(start, end)
    start = end + 1
    if (line.trim() === '') continue
    let value: unknown
    try {
      value = JSON.parse(line)
    } catch {
      throw wrong('this is not JSON')
    }
    if (isDeeper(value, deepest))
      throw wrong(`it has more than ${deepest} lists and objects within one another`)
    yield { number, value }
  }
}

/** Whether lists and objects are nested deeper than `levels`. Not recursive, since hostile nesting would exhaust the stack. */
export function isDeeper(value: unknown, levels: number): boolean {
  const nested = (of: readonly unknown[]) => of.filter((item) => typeof item === 'object' && item !== null)
  let level = nested([value])
  for (let depth = 0; level.length > 0; depth++) {
    if (depth === levels) return true
    level = level.flatMap((item) => nested(Object.values(item as object)))
  }
  return false
}

const utf8Mark = [0xef, 0xbb, 0xbf]
const utf16le = [0xff, 0xfe]
const utf16be = [0xfe, 0xff]
const utf32le = [0xff, 0xfe, 0, 0]
const utf32be = [0, 0, 0xfe, 0xff]

const startsWith = (bytes: Uint8Array, beginning: readonly number[]): boolean =>
  beginning.every((byte, i) => bytes[i] === byte)

const convert = (encoding: string): string => `convert it first: iconv -f ${encoding} -t UTF-8 OLD > NEW`

/** @param bytes little-endian, without the mark */
function decodeUtf16(path: string, bytes: Buffer): string {
  if (bytes.length % 2 !== 0) throw cutUtf16(path)
  let text: string
  try {
    text = new TextDecoder('utf-16le', { fatal: true }).decode(bytes)
  } catch {
    throw new FileError(
      path,
      'it is damaged: it begins as UTF-16 and has characters that UTF-16 does not have',
    )
  }
  if (text.includes('\0')) throw new FileError(path, 'it begins as UTF-16 and holds zeros, so it is not text')
  return text
}

const cutUtf16 = (path: string): FileError =>
  new FileError(path, 'it is damaged: it begins as UTF-16 and ends in the middle of a character')

/** Magic numbers of files that are not text, and advice. */
const kinds: readonly (readonly [magic: string, problem: string])[] = [
  ['\x1f\x8b', 'it is compressed (gzip); decompress it first: gzip -dc OLD > NEW'],
  ['BZh', 'it is compressed (bzip2); decompress it first: bzip2 -dc OLD > NEW'],
  ['\xfd7zXZ', 'it is compressed (xz); decompress it first: xz -dc OLD > NEW'],
  ['\x28\xb5\x2f\xfd', 'it is compressed (zstd); decompress it first: zstd -dc OLD > NEW'],
  ['PK\x03\x04', 'it is a ZIP archive, as .docx and .epub files are; extract or export its text first'],
  ['%PDF', 'it is a PDF document; extract its text first: pdftotext OLD NEW'],
  ['PAR1', 'it is a Parquet table; export its text to JSON lines first'],
  ['GGUF', 'it is a GGUF model and not text'],
]

/** Called only for bytes that are not text: text may begin like one of these. */
const kindOf = (bytes: Buffer): string | undefined => {
  const start = bytes.toString('latin1', 0, 8)
  return kinds.find(([magic]) => start.startsWith(magic))?.[1]
}

/** For bytes that contain a zero, which text does not. */
function zeroProblem(bytes: Buffer, zero: number): string {
  const known = kindOf(bytes)
  if (known !== undefined) return known
  const pairs = bytes.subarray(0, 4096)
  const zeros = (rest: number): number => pairs.filter((byte, i) => byte === 0 && i % 2 === rest).length
  const most = Math.max(zeros(0), zeros(1))
  if (most > 0.3 * (pairs.length / 2) && most > 9 * Math.min(zeros(0), zeros(1)))
    return `it seems to be UTF-16 without a byte order mark; ${convert(zeros(1) > zeros(0) ? 'UTF-16LE' : 'UTF-16BE')}`
  return `byte ${zero + 1} is a zero, so it is not text`
}

/** For bytes that are not UTF-8. */
function utf8Problem(bytes: Buffer): string {
  const known = kindOf(bytes)
  if (known !== undefined) return known
  const at = firstBadByte(bytes)
  let line = 1
  for (let i = bytes.indexOf(10); i >= 0 && i < at; i = bytes.indexOf(10, i + 1)) line++
  const hex = bytes[at].toString(16).padStart(2, '0')
  return `it is not UTF-8 from byte ${at + 1} on (0x${hex}, in line ${line}); if it is Latin-1 or Windows-1252, ${convert('CP1252')}`
}

/** Offset of the first sequence that is not UTF-8. */
function firstBadByte(bytes: Buffer): number {
  const piece = 65_536
  let start = 0
  for (;;) {
    let end = Math.min(start + piece, bytes.length)
    // Do not split a character, which has at most three bytes after its first.
    for (let i = 0; i < 3 && end < bytes.length && (bytes[end] & 0xc0) === 0x80; i++) end--
    const part = bytes.subarray(start, end)
    if (isUtf8(part) && end < bytes.length) {
      start = end
      continue
    }
    const again = Buffer.from(part.toString()) // invalid bytes become U+FFFD
    let at = again.findIndex((byte, i) => byte !== part[i])
    while ((again[at] & 0xc0) === 0x80) at-- // back to the start of U+FFFD, whose first bytes may equal the input's
    return start + at
  }
}
