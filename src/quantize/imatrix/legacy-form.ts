/**
 * The older binary form, which llama-imatrix wrote until 2025 and still writes with `--output-format dat`; all numbers are int32
 * but the values:
 *
 *   entries | entries times: length of the name, name, calls, values, f32 each | chunks | length of the dataset, dataset
 *
 * The part after the entries is optional. A mean is value / calls in f32, or the value if there were no calls.
 * Every count is checked against the remaining bytes before anything is allocated.
 * Source: common/imatrix-loader.cpp and tools/quantize/quantize.cpp of llama.cpp v0.5.0.
 */
import type { FileHandle } from 'node:fs/promises'
import { FileError } from '../../errors.js'
import { systemError } from '../../files.js'
import { quote } from '../../gguf/index.js'
import { decodeText } from '../../gguf/text.js'
import type { ImatrixEntry, ImatrixFile } from './imatrix.js'

/** GGML_MAX_NAME. */
const mostNameBytes = 64
const mostEntries = 2 ** 16
const mostDatasetBytes = 2 ** 16
const damaged = 'the file is damaged; get it again'

/** @param handle is closed by the result */
export async function openLegacyImatrix(
  path: string,
  handle: FileHandle,
  size: number,
): Promise<ImatrixFile> {
  const reader = new Reader(path, handle, size)
  const count = size < 4 ? 0 : await reader.int32()
  if (count < 1 || count > mostEntries || count * 17 > reader.left)
    throw new FileError(
      path,
      'it is not an importance matrix, neither a GGUF file nor one of the older form (.dat)',
    )
  const entries = new Map<string, ImatrixEntry>()
  for (let i = 0; i < count; i++) {
    const name = await reader.text(mostNameBytes, `entry ${i}`)
    if (name === '') throw new FileError(path, `entry ${i} has no name; ${damaged}`)
    if (entries.has(name)) throw new FileError(path, `the entry ${quote(name)} is there twice; ${damaged}`)
    const calls = await reader.int32()
    const length = await reader.int32()
    if (length < 1 || 4 * length > reader.left)
      throw new FileError(path, `the entry ${quote(name)} claims ${length} values; ${damaged}`)
    const position = reader.skip(4 * length)
    entries.set(name, {
      length,
      async read() {
        const values = new Float32Array((await reader.bytes(position, 4 * length)).buffer)
        return calls > 0 ? values.map((value) => value / Math.fround(calls)) : values
      },
    })
  }
  const chunks = reader.left >= 4 ? await reader.int32() : 0
  const dataset = reader.left >= 4 ? await reader.text(mostDatasetBytes, 'the name of its text') : ''
  return {
    path,
    entries,
    datasets: dataset === '' ? [] : [dataset],
    chunks,
    close: () => handle.close(),
  }
}

/** Reads a file front to back, and values anywhere in it. */
class Reader {
  private position = 0

  constructor(
    private readonly path: string,
    private readonly handle: FileHandle,
    private readonly size: number,
  ) {}

  /** Remaining bytes. */
  get left(): number {
    return this.size - this.position
  }

  async int32(): Promise<number> {
    return (await this.next(4)).readInt32LE()
  }

  /** A length and that many bytes, up to the first 0. @param what name of the field, as the beginning of a sentence */
  async text(most: number, what: string): Promise<string> {
    const length = await this.int32()
    if (length < 0 || length > most || length > this.left)
      throw new FileError(this.path, `${what} claims a text of ${length} bytes; ${damaged}`)
    const bytes = await this.next(length)
    const end = bytes.indexOf(0)
    return decodeText(bytes, 0, end < 0 ? length : end)
  }

  /** Skips bytes and returns their offset. */
  skip(bytes: number): number {
    this.position += bytes
    return this.position - bytes
  }

  private async next(length: number): Promise<Buffer> {
    if (length > this.left)
      throw new FileError(this.path, `it ends at byte ${this.size} in the middle of an entry; ${damaged}`)
    const bytes = await this.bytes(this.skip(length), length)
    return Buffer.from(bytes.buffer)
  }

  async bytes(position: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = new Uint8Array(length)
    for (let at = 0; at < length; ) {
      const { bytesRead } = await this.handle.read(bytes, at, length - at, position + at).catch((error) => {
        throw systemError(this.path, error)
      })
      if (bytesRead === 0) throw new FileError(this.path, 'the file became shorter while it was read')
      at += bytesRead
    }
    return bytes
  }
}
