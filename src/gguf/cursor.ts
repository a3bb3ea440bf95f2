/**
 * Reads the header of a file from front to back through a window of 1 MiB, so only header bytes are read, however large the
 * file. Every length is compared with the remaining bytes before anything is allocated; reading past the end is a FileError.
 * Little-endian, like all machines that quench runs on.
 *
 * Reads are synchronous: a header is small and at the start of a file that is about to be used, and a parser that never waits
 * between two bytes is simple and ten times faster.
 */
import { readSync } from 'node:fs'
import { FileError } from '../errors.js'
import { systemError } from '../files.js'
import { decodeText } from './text.js'

const windowBytes = 2 ** 20
/** Far more than the largest vocabulary needs (about 20 MB), but small enough to be held in memory when decoded. */
const headerLimit = 2 ** 27

export class Cursor {
  readonly #window: Buffer
  #start = 0 // next byte in the window
  #end = 0 // end of the bytes in the window
  #next = 0 // file position of #end
  readonly #limit: number

  /** @param source descriptor of the file, or its first bytes. @param size of the whole file in bytes */
  constructor(
    readonly path: string,
    private readonly source: number | Uint8Array,
    readonly size: number,
  ) {
    this.#limit = Math.min(size, headerLimit)
    this.#window = Buffer.allocUnsafe(Math.min(windowBytes, size))
  }

  /** File position of the next byte. */
  get position(): number {
    return this.#next - (this.#end - this.#start)
  }

  /** Bytes that the header may still take. */
  get remaining(): number {
    return this.#limit - this.position
  }

  uint8(): number {
    return this.#window.readUInt8(this.#take(1))
  }

  int8(): number {
    return this.#window.readInt8(this.#take(1))
  }

  uint16(): number {
    return this.#window.readUInt16LE(this.#take(2))
  }

  int16(): number {
    return this.#window.readInt16LE(this.#take(2))
  }

  uint32(): number {
    return this.#window.readUInt32LE(this.#take(4))
  }

  int32(): number {
    return this.#window.readInt32LE(this.#take(4))
  }

  float32(): number {
    return this.#window.readFloatLE(this.#take(4))
  }

  float64(): number {
    return this.#window.readDoubleLE(this.#take(8))
  }

  uint64(): bigint {
    return this.#window.readBigUInt64LE(this.#take(8))
  }

  int64(): bigint {
    return this.#window.readBigInt64LE(this.#take(8))
  }

  /** A uint64 as a number: exact up to 2^53; larger values are still too large for every check. */
  count(): number {
    const at = this.#take(8)
    return this.#window.readUInt32LE(at) + this.#window.readUInt32LE(at + 4) * 2 ** 32
  }

  /** A length and that many bytes of UTF-8. */
  string(): string {
    const length = this.count()
    if (length > this.#window.length) {
      const bytes = Buffer.from(this.bytes(length).buffer)
      return decodeText(bytes, 0, length)
    }
    const at = this.#take(length)
    return decodeText(this.#window, at, at + length)
  }

  /** A copy of the next `count` strings as they are stored, each with its length in front. */
  strings(count: number): Buffer {
    const start = this.position
    for (let i = 0; i < count; i++) this.#skip(this.count())
    const bytes = Buffer.allocUnsafe(this.position - start)
    this.#fill(bytes, 0, bytes.length, start)
    return bytes
  }

  /** A copy of the next `length` bytes, at the start of a separate buffer. */
  bytes(length: number): Uint8Array<ArrayBuffer> {
    this.#check(length)
    const bytes = new Uint8Array(length)
    const there = Math.min(length, this.#end - this.#start)
    bytes.set(this.#window.subarray(this.#start, this.#start + there))
    this.#start += there
    this.#read(bytes, there, length)
    return bytes
  }

  /** Advances by `length` bytes, loads them into the window, and returns their offset in it. */
  #take(length: number): number {
    if (this.#end - this.#start < length) {
      this.#check(length)
      this.#window.copyWithin(0, this.#start, this.#end)
      this.#end -= this.#start
      this.#start = 0
      const end = this.#end + Math.min(this.#window.length - this.#end, this.#limit - this.#next)
      this.#read(this.#window, this.#end, end)
      this.#end = end
    }
    const at = this.#start
    this.#start += length
    return at
  }

  #skip(length: number): void {
    const there = this.#end - this.#start
    if (length > there) {
      this.#check(length)
      this.#next += length - there
    }
    this.#start += Math.min(length, there)
  }

  #check(length: number): void {
    if (length <= this.remaining) return
    if (this.size > headerLimit)
      throw new FileError(
        this.path,
        'the header is larger than 128 MiB, so the file is damaged; download it again',
      )
    throw new FileError(
      this.path,
      `the file ends inside its header (at byte ${this.size}); download it again`,
    )
  }

  #read(target: Uint8Array, start: number, end: number): void {
    this.#fill(target, start, end, this.#next)
    this.#next += end - start
  }

  /** Fills `target` from `start` to `end` with the bytes at a position of the file. */
  #fill(target: Uint8Array, start: number, end: number, position: number): void {
    for (let at = start; at < end; ) {
      let read: number
      try {
        read = this.#readFrom(target, at, end - at, position + at - start)
      } catch (error) {
        throw systemError(this.path, error)
      }
      if (read === 0) throw new FileError(this.path, 'the file became shorter while it was read')
      at += read
    }
  }

  #readFrom(target: Uint8Array, at: number, length: number, position: number): number {
    if (typeof this.source === 'number') return readSync(this.source, target, at, length, position)
    target.fill(0, at, at + length) // what lies behind them is not asked for
    target.set(this.source.subarray(position, position + length), at)
    return length
  }
}
