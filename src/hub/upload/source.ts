/** A file that is to be sent: pieces of memory and ranges of files, so that parts of a large model need not be written. */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { FileError } from '../../errors.js'
import { systemError } from '../../system-errors.js'

export type Segment = Uint8Array | { readonly path: string; readonly start: number; readonly end: number }

const lengthOf = (segment: Segment): number =>
  segment instanceof Uint8Array ? segment.length : segment.end - segment.start

export class UploadSource {
  readonly size: number

  /** @param path within the repository */
  constructor(
    readonly path: string,
    readonly segments: readonly Segment[],
  ) {
    this.size = segments.reduce((sum, segment) => sum + lengthOf(segment), 0)
  }

  /** The bytes from `start` to before `end`. @throws FileError */
  async *stream(start = 0, end = this.size): AsyncGenerator<Uint8Array> {
    let at = 0
    for (const segment of this.segments) {
      const length = lengthOf(segment)
      const [from, to] = [Math.max(0, start - at), Math.min(length, end - at)]
      at += length
      if (from >= to) continue
      if (segment instanceof Uint8Array) yield segment.subarray(from, to)
      else yield* range(segment.path, segment.start + from, segment.start + to)
    }
  }

  /** All bytes of a small file. */
  async bytes(): Promise<Buffer> {
    const chunks: Uint8Array[] = []
    for await (const chunk of this.stream()) chunks.push(chunk)
    return Buffer.concat(chunks)
  }

  /** SHA-256, in hexadecimal digits. @param onBytes called with the bytes of every piece */
  async sha256(onBytes: (bytes: number) => void, signal?: AbortSignal): Promise<string> {
    const hash = createHash('sha256')
    for await (const chunk of this.stream()) {
      signal?.throwIfAborted()
      hash.update(chunk)
      onBytes(chunk.length)
    }
    return hash.digest('hex')
  }
}

async function* range(path: string, start: number, end: number): AsyncGenerator<Uint8Array> {
  let left = end - start
  try {
    for await (const chunk of createReadStream(path, { start, end: end - 1, highWaterMark: 2 ** 18 })) {
      left -= chunk.length
      yield chunk as Buffer
    }
  } catch (error) {
    throw systemError(path, error)
  }
  if (left > 0) throw new FileError(path, 'it became shorter meanwhile')
}
