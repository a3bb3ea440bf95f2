/**
 * Strings of GGUF files. They should be UTF-8, but vocabularies exist whose tokens are not, and a file that is read and
 * written again must keep them. A byte 0x80-0xFF outside valid UTF-8 therefore becomes the lone surrogate U+DC80-U+DCFF, which
 * valid UTF-8 never decodes to, and is encoded back to that byte (like Python's `surrogateescape`).
 */
import { isUtf8 } from 'node:buffer'

/** Bytes `start` to `end` as a string; `encodeText` restores the same bytes, whatever they are. */
export function decodeText(bytes: Buffer, start: number, end: number): string {
  const text = bytes.toString('utf8', start, end)
  if (!text.includes('\ufffd')) return text // toString's replacement for invalid bytes
  const part = bytes.subarray(start, end)
  return isUtf8(part) ? text : decodeEscaped(part)
}

/** UTF-8 of a string from `decodeText`, or undefined if it has a lone surrogate that represents no byte. */
export function encodeText(text: string): Buffer | undefined {
  if (!/\p{Surrogate}/u.test(text)) return Buffer.from(text)
  const bytes = Buffer.alloc(3 * text.length) // a UTF-16 unit takes at most 3
  let length = 0
  for (const character of text) {
    const point = character.codePointAt(0)!
    if (point >= 0xdc80 && point <= 0xdcff) bytes[length++] = point - 0xdc00
    else if (point >= 0xd800 && point <= 0xdfff) return undefined
    else length += bytes.write(character, length)
  }
  return bytes.subarray(0, length)
}

function decodeEscaped(bytes: Uint8Array): string {
  const units = new Uint16Array(bytes.length) // UTF-16 never has more units than UTF-8 has bytes
  let length = 0
  for (let i = 0; i < bytes.length; ) {
    const sequence = sequenceLength(bytes, i)
    const point = sequence > 0 ? codePoint(bytes, i, sequence) : 0xdc00 + bytes[i]
    if (point > 0xffff) {
      units[length++] = 0xd800 + ((point - 0x10000) >> 10)
      units[length++] = 0xdc00 + (point & 0x3ff)
    } else units[length++] = point
    i += Math.max(sequence, 1)
  }
  return Buffer.from(units.buffer, 0, 2 * length).toString('utf16le')
}

const leastPoint = [0, 0, 0x80, 0x800, 0x10000] // smallest code point of a sequence of this length

/** Bytes of the UTF-8 sequence that starts at `i`, or 0 if none does. */
function sequenceLength(bytes: Uint8Array, i: number): number {
  const lead = bytes[i]
  if (lead < 0x80) return 1
  if (lead < 0xc2 || lead > 0xf4) return 0
  const length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4
  if (i + length > bytes.length) return 0
  for (let k = 1; k < length; k++) if ((bytes[i + k] & 0xc0) !== 0x80) return 0
  const point = codePoint(bytes, i, length)
  const surrogate = point >= 0xd800 && point <= 0xdfff
  return point < leastPoint[length] || point > 0x10ffff || surrogate ? 0 : length
}

function codePoint(bytes: Uint8Array, i: number, length: number): number {
  if (length === 1) return bytes[i]
  let point = bytes[i] & (0x7f >> length)
  for (let k = 1; k < length; k++) point = (point << 6) | (bytes[i + k] & 0x3f)
  return point
}

/** A name from a file for an error message: in quotes, at most 64 characters, without terminal control characters. */
export function quote(name: string): string {
  const clipped = name.length > 64 ? `${name.slice(0, 61)}...` : name
  return `'${clipped.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, '?')}'`
}
