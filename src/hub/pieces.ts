/**
 * A file that is being downloaded in pieces: `ETAG.quench` has its full length from the start and is filled in any order, and
 * `ETAG.quench-pieces` has a byte for every piece, 1 once its bytes are on the disk. So a killed process, or a loss of power, costs
 * no piece that was finished. Sizes of pieces follow from the size of the file alone.
 */
import { constants } from 'node:fs'
import { type FileHandle, lstat, open, rename, rm } from 'node:fs/promises'
import { noFollow } from '../own-files.js'

const [leastPiece, mostPiece, mostPieces] = [2 ** 20, 2 ** 25, 256]

/** Bytes of every piece but the last: a power of two from 1 to 32 MiB. */
export function pieceBytes(size: number): number {
  let bytes = leastPiece
  while (bytes < mostPiece && bytes * mostPieces < size) bytes *= 2
  return bytes
}

export class PartialFile {
  readonly pieces: number
  readonly pieceBytes: number
  readonly #done: Uint8Array

  private constructor(
    readonly path: string,
    readonly size: number,
    private readonly data: FileHandle,
    private readonly journal: FileHandle,
    done: Uint8Array,
  ) {
    this.pieceBytes = done.length === 1 ? size : pieceBytes(size)
    this.pieces = done.length
    this.#done = done
  }

  /**
   * Opens or begins the partial file of a blob. The caller holds its lock.
   * @param whole for a single piece
   * @throws system errors
   */
  static async open(blob: string, size: number, whole: boolean): Promise<PartialFile> {
    const [path, journalPath] = [partialPath(blob), journalOf(blob)]
    const pieces = whole ? 1 : Math.max(1, Math.ceil(size / pieceBytes(size)))
    const done = new Uint8Array(pieces)
    const found = await lstat(path).catch(() => undefined)
    if (found?.size !== size || !found.isFile()) await rm(journalPath, { force: true })
    if (found && !found.isFile()) await rm(path)
    const flags = constants.O_RDWR | constants.O_CREAT | noFollow
    const data = await open(path, flags)
    try {
      if (found?.size !== size) await data.truncate(size)
      const journal = await open(journalPath, flags)
      const { bytesRead } = await journal.read(done, 0, pieces, 0)
      done.fill(0, bytesRead)
      return new PartialFile(path, size, data, journal, done)
    } catch (error) {
      await data.close()
      throw error
    }
  }

  has(piece: number): boolean {
    return this.#done[piece] === 1
  }

  /** First byte of a piece, and the byte after its last. */
  range(piece: number): { start: number; end: number } {
    const start = piece * this.pieceBytes
    return { start, end: Math.min(this.size, start + this.pieceBytes) }
  }

  /** Bytes of finished pieces. */
  get doneBytes(): number {
    let bytes = 0
    for (let piece = 0; piece < this.pieces; piece++) {
      const { start, end } = this.range(piece)
      if (this.has(piece)) bytes += end - start
    }
    return bytes
  }

  async write(bytes: Uint8Array, position: number): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      const { bytesWritten } = await this.data.write(bytes, at, bytes.length - at, position + at)
      at += bytesWritten
    }
  }

  /** @param bytes to be filled */
  async read(bytes: Uint8Array, position: number): Promise<number> {
    return (await this.data.read(bytes, 0, bytes.length, position)).bytesRead
  }

  /** Notes that a piece is complete, once its bytes are on the disk. */
  async finish(piece: number): Promise<void> {
    await this.data.datasync()
    await this.journal.write(Uint8Array.of(1), 0, 1, piece)
    this.#done[piece] = 1
  }

  async close(): Promise<void> {
    await Promise.all([this.data.close(), this.journal.close()])
  }

  /** Of a complete file: gives it its name. The handles are closed. */
  async commit(blob: string): Promise<void> {
    await this.data.sync()
    await this.close()
    await rename(this.path, blob)
    await rm(journalOf(blob), { force: true })
  }

  /** Closes and removes it. */
  async discard(blob: string): Promise<void> {
    await this.close()
    await rm(journalOf(blob), { force: true })
    await rm(this.path, { force: true })
  }
}

export const partialPath = (blob: string): string => `${blob}.quench`
const journalOf = (blob: string): string => `${blob}.quench-pieces`
