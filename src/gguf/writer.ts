/**
 * Writes a GGUF file as a stream: the header first, since all sizes are known, then each tensor's bytes in the order given, so
 * a file of any size takes only the memory of one chunk. The file appears under its name only when it is complete.
 */
import { createHash } from 'node:crypto'
import type { FileHandle } from 'node:fs/promises'
import { FileError } from '../errors.js'
import { commitTemporary, discardTemporary, openTemporary, systemError } from '../files.js'
import { encodeHeader } from './encode.js'
import { alignmentOf, padded, tensorSize } from './header.js'
import { type GgufValue, Metadata } from './metadata.js'
import { encodeText, quote } from './text.js'

/** Content of a file to be written. */
export interface GgufContent {
  readonly metadata: Metadata
  /** In the order in which they are stored and written. Shapes in ggml's order, row length first. */
  readonly tensors: readonly {
    readonly name: string
    readonly shape: readonly number[]
    readonly type: number
  }[]
  /** 3 by default. */
  readonly version?: 2 | 3
  /** In bytes, a power of two. Default: the metadata's `general.alignment`, or 32. */
  readonly alignment?: number
  /** Keep the replaced file as the reserve of the next one (reserve.ts). */
  readonly keepReserved?: boolean
  /**
   * Gives values of `metadata` that are known only once the data is, by key. Each takes as many bytes as the one that it replaces.
   * @param data all tensors' bytes in their order, without padding: what llama-gguf-hash calls the hash of the model
   */
  readonly late?: (data: DataDigest) => Promise<ReadonlyMap<string, GgufValue>>
}

export interface DataDigest {
  /** In hexadecimal digits. */
  readonly sha256: string
  readonly bytes: number
}

interface Part {
  readonly name: string
  readonly bytes: number
}

/** llama.cpp refuses longer tensor names. */
const maxNameBytes = 63

/** Starts a file and writes its header. FileError if the content cannot be stored or the file cannot be created. */
export async function createGguf(path: string, content: GgufContent): Promise<GgufWriter> {
  const metadata = new Metadata(path, content.metadata)
  if (content.alignment !== undefined && content.alignment !== alignmentOf(metadata)) {
    metadata.set('general.alignment', { type: 'uint32', value: content.alignment })
  }
  const alignment = alignmentOf(metadata)
  if (metadata.has('')) throw new FileError(path, 'a metadata key has no name')
  let offset = 0
  const tensors = content.tensors.map(({ name, shape, type }) => {
    checkName(path, name, shape)
    const { bytes } = tensorSize(path, name, shape, type)
    const placed = { name, shape, type, bytes, offset }
    offset += padded(bytes, alignment)
    return placed
  })
  if (new Set(tensors.map((tensor) => tensor.name)).size !== tensors.length) {
    throw new FileError(path, 'two tensors have the same name')
  }
  const encode = () => encodeHeader(content.version ?? 3, alignment, metadata, tensors)
  const header = encode()

  const { temporary, handle } = await openTemporary(path)
  const { late } = content
  const ending =
    late &&
    (async (data: DataDigest) => {
      for (const [key, value] of await late(data)) metadata.set(key, value)
      const whole = encode()
      if (whole.length !== header.length) throw new Error(`${path}: late metadata takes other room`)
      return whole
    })
  const keepReserved = content.keepReserved ?? false
  const writer = new GgufWriter(path, temporary, handle, tensors, alignment, keepReserved, ending)
  await writer.start(header)
  return writer
}

function checkName(path: string, name: string, shape: readonly number[]): void {
  const nameBytes = encodeText(name)?.length
  if (nameBytes === undefined || nameBytes > maxNameBytes) {
    throw new FileError(
      path,
      `the tensor name ${quote(name)} is longer than ${maxNameBytes} bytes or not Unicode`,
    )
  }
  if (shape.length < 1 || shape.length > 4) {
    throw new FileError(path, `the tensor ${quote(name)} has ${shape.length} dimensions; GGUF has 1 to 4`)
  }
}

/**
 * A file being written. Await each call before the next. After an error nothing is left on disk and the writer cannot be used.
 */
export class GgufWriter {
  #current = 0 // index of the tensor being written
  #written = 0 // bytes of it so far
  #size = 0 // bytes of the file so far
  #closed = false
  readonly #hash = createHash('sha256') // of the data, if `ending` asks for it

  /** Called by `createGguf`. @param ending makes the header once more when the data is written */
  constructor(
    readonly path: string,
    readonly temporary: string,
    readonly handle: FileHandle,
    readonly parts: readonly Part[],
    readonly alignment: number,
    private readonly keepReserved: boolean,
    private readonly ending?: (data: DataDigest) => Promise<Uint8Array>,
  ) {}

  /** Called by `createGguf`. */
  async start(header: Uint8Array): Promise<void> {
    await this.#orAbort(() => this.#append(header))
  }

  /** Appends bytes to a tensor. Tensors are written in the given order, each with exactly its number of bytes. */
  async write(name: string, chunk: Uint8Array): Promise<void> {
    await this.#orAbort(async () => {
      const part = this.parts[this.#current]
      if (part?.name !== name) {
        const due = part
          ? `${quote(part.name)} still needs ${part.bytes - this.#written} bytes`
          : 'all are complete'
        throw new FileError(this.path, `the tensor ${quote(name)} does not come next: ${due}`)
      }
      this.#written += chunk.length
      if (this.#written > part.bytes) {
        throw new FileError(this.path, `the tensor ${quote(name)} takes ${part.bytes} bytes but got more`)
      }
      if (this.ending) this.#hash.update(chunk)
      await this.#append(chunk)
      if (this.#written < part.bytes) return
      await this.#append(new Uint8Array(padded(part.bytes, this.alignment) - part.bytes))
      this.#current++
      this.#written = 0
    })
  }

  /** Flushes the file to disk and renames it to its final name. Fails if a tensor is incomplete. */
  async finish(): Promise<void> {
    await this.#orAbort(async () => {
      const part = this.parts[this.#current]
      if (part) {
        const missing = part.bytes - this.#written
        throw new FileError(this.path, `the tensor ${quote(part.name)} still needs ${missing} bytes`)
      }
      if (this.ending) {
        const bytes = this.parts.reduce((sum, part) => sum + part.bytes, 0)
        const header = await this.ending({ sha256: this.#hash.digest('hex'), bytes })
        await this.handle.write(header, 0, header.length, 0)
      }
      await this.handle.truncate(this.#size) // drops the rest of reserved space
      await this.handle.close()
      await commitTemporary(this.temporary, this.path, this.keepReserved)
      this.#closed = true
    })
  }

  /** Aborts: removes the partial file. Harmless after `finish` or an error. */
  async abort(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    try {
      await this.handle.close()
    } finally {
      await discardTemporary(this.temporary)
    }
  }

  async #append(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      const { bytesWritten } = await this.handle.write(bytes, at, bytes.length - at)
      at += bytesWritten
    }
    this.#size += bytes.length
  }

  async #orAbort(work: () => Promise<void>): Promise<void> {
    if (this.#closed) throw new Error(`${this.path}: the writer is closed`)
    try {
      await work()
    } catch (error) {
      await this.abort()
      throw systemError(this.path, error)
    }
  }
}
