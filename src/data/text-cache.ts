/**
 * Self-written text on disk, in parts. A part is written completely or not at all, so a killed run resumes after the last
 * complete part.
 *
 * A part holds sequences `first` to `first + count` of a text. File: SHA-256 of the text's key and the tokens (32 bytes), then
 * the tokens, int32, little endian. A file with another size or a wrong hash counts as absent.
 */
import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { ownCacheFolder } from '../cache-folder.js'
import { atomicWrite, removeTemporariesIn, reserveSpace } from '../files.js'
import { type Lock, ofProcess, waitForLock } from '../locks.js'
import { warn } from '../notices.js'
import { isOwn, noFollow, removeLink } from '../own-files.js'
import { discardReserved } from '../reserve.js'

const digestBytes = 32

export class TextCache {
  private constructor(
    readonly folder: string,
    private readonly key: string,
    /** Tokens per sequence. */
    private readonly length: number,
  ) {}

  /** @param settings all that the text depends on except the number of sequences */
  static async open(settings: Readonly<Record<string, unknown>>, length: number): Promise<TextCache> {
    const key = createHash('sha256')
      .update(JSON.stringify({ ...settings, length }))
      .digest('hex')
    return new TextCache(ownCacheFolder('text', key.slice(0, 32)), key, length)
  }

  /** The sequences of a part, or undefined if it is missing or damaged. */
  async read(first: number, count: number): Promise<Int32Array[] | undefined> {
    const size = digestBytes + 4 * count * this.length
    const bytes = await readExactly(this.path(first, count), size)
    if (bytes === undefined) return undefined
    const data = bytes.subarray(digestBytes)
    if (!this.digest(data).equals(bytes.subarray(0, digestBytes))) return undefined
    const tokens = Int32Array.from({ length: count * this.length }, (_, i) => data.readInt32LE(4 * i))
    return Array.from({ length: count }, (_, i) => tokens.slice(i * this.length, (i + 1) * this.length))
  }

  /**
   * Locks the text against other writers until the lock is released. If another process is writing it, waits, since its parts
   * need not be written again. Removes the partial files of killed processes.
   */
  async lock(signal?: AbortSignal): Promise<Lock> {
    const lock = await waitForLock(
      this.folder,
      (holder) =>
        warn(`${this.folder}: waits for another quench${ofProcess(holder)}, which is writing the same text`),
      signal,
    )
    if (lock.held) removeTemporariesIn(this.folder)
    return lock
  }

  /** Reserves disk space for a part before it is written. @throws FileError if the disk is full */
  async reserve(first: number, count: number): Promise<void> {
    await removeLink(this.path(first, count))
    await reserveSpace(this.path(first, count), digestBytes + 4 * count * this.length)
  }

  /** @param reserved sequences that space was reserved for; if they are fewer now, the part is that of a smaller text */
  async write(first: number, sequences: readonly Int32Array[], reserved = sequences.length): Promise<void> {
    if (sequences.length < reserved) await discardReserved(this.path(first, reserved))
    const data = Buffer.alloc(4 * sequences.length * this.length)
    for (const [s, tokens] of sequences.entries())
      for (const [i, token] of tokens.entries()) data.writeInt32LE(token, 4 * (s * this.length + i))
    await removeLink(this.path(first, sequences.length))
    await atomicWrite(this.path(first, sequences.length), Buffer.concat([this.digest(data), data]))
  }

  private path(first: number, count: number): string {
    return join(this.folder, `${first}-${first + count - 1}.tokens`)
  }

  private digest(data: Uint8Array): Buffer {
    return createHash('sha256').update(this.key).update(data).digest()
  }
}

/** Size on disk in bytes of a text in `parts` parts. */
export const cachedBytes = (tokens: number, parts: number): number => 4 * tokens + digestBytes * parts

/** The content of a file if it belongs to this user and has this size. */
async function readExactly(path: string, size: number): Promise<Buffer | undefined> {
  const file = await open(path, constants.O_RDONLY | noFollow).catch(() => undefined)
  if (file === undefined) return undefined
  try {
    const found = await file.stat()
    if (found.size !== size || !isOwn(found)) return undefined
    const bytes = Buffer.alloc(size)
    const { bytesRead } = await file.read(bytes, 0, size, 0)
    return bytesRead === size ? bytes : undefined
  } catch {
    return undefined
  } finally {
    await file.close()
  }
}
