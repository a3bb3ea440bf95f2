/**
 * Opens GGUF files for reading. Only headers are read at first, so opening a file of any size takes milliseconds; `read` then
 * fetches the bytes of one tensor, or a part of them.
 *
 * A model may be split into `NAME-00001-of-00003.gguf` etc. The first file has all the metadata; opening it opens the others,
 * and the result looks like one file.
 */
import { readSync } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { FileError } from '../errors.js'
import { systemError } from '../files.js'
import { openInput } from '../input-file.js'
import { partPath } from '../paths.js'
import { Cursor } from './cursor.js'
import { type Header, parseHeader, type TensorInfo } from './header.js'
import type { Metadata } from './metadata.js'
import { quote } from './text.js'

interface OpenFile {
  readonly path: string
  /** None of a file of which only the header is here. */
  readonly handle?: FileHandle
  readonly header: Header
}

/** Limit of bytes per read call; the system returns at most 2 GiB. */
const readBytes = 2 ** 30

/** Opens a GGUF file, and with the first file of a split model the others. FileError if anything is wrong. */
export async function openGguf(path: string): Promise<Gguf> {
  const files = [await openFile(path, 0)]
  try {
    const parts = splitPaths(path, files[0].header.metadata)
    for (let i = 1; i < parts.length; i++) {
      const part = await openFile(parts[i], i)
      files.push(part)
      const { metadata } = part.header
      if (metadata.number('split.no') !== i || metadata.number('split.count') !== parts.length) {
        throw new FileError(
          part.path,
          `this is not part ${i + 1} of ${parts.length} as its name says; download it again`,
        )
      }
    }
    return new Gguf(files)
  } catch (error) {
    await Promise.all(files.map((file) => file.handle?.close()))
    throw error
  }
}

async function openFile(path: string, index: number): Promise<OpenFile> {
  try {
    const { handle, size } = await openInput(path)
    try {
      return { path, handle, header: parseHeader(new Cursor(path, handle.fd, size), index) }
    } catch (error) {
      await handle.close()
      throw error
    }
  } catch (error) {
    throw systemError(path, error)
  }
}

/** The paths of all parts of a split model, or only `path`. */
function splitPaths(path: string, metadata: Metadata): string[] {
  const count = metadata.number('split.count', 1)
  if (count <= 1) return [path]
  const named = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/s.exec(basename(path))
  if (!named || Number(named[3]) !== count) {
    throw new FileError(
      path,
      `this is one of ${count} parts but is not named NAME-00001-of-0000N.gguf; rename the parts`,
    )
  }
  const part = (i: number) => partPath(join(dirname(path), named[1]), i, count)
  const index = metadata.number('split.no')
  if (index !== 0) throw new FileError(path, `this is part ${index + 1} of ${count}; open ${part(0)} instead`)
  return Array.from({ length: count }, (_, i) => (i === 0 ? path : part(i)))
}

/** An open GGUF file, or all files of a split model. Close it after use. */
export class Gguf {
  /** The file that was opened. */
  readonly path: string
  /** All files, in order; `TensorInfo.file` is an index into this. */
  readonly files: readonly string[]
  readonly version: 2 | 3
  /** Alignment of tensor offsets in bytes. */
  readonly alignment: number
  /** Position of the tensor data in the first file. */
  readonly dataOffset: number
  /** Without the `split.*` keys of a split model, so that it describes one whole file. */
  readonly metadata: Metadata
  /** In file order. */
  readonly tensors: readonly TensorInfo[]
  readonly #handles: (FileHandle | undefined)[]
  readonly #byName = new Map<string, TensorInfo>()

  /** Called by `openGguf`. */
  constructor(files: readonly OpenFile[]) {
    const { header, path } = files[0]
    this.path = path
    this.files = files.map((file) => file.path)
    this.version = header.version
    this.alignment = header.alignment
    this.dataOffset = header.dataOffset
    this.metadata = header.metadata
    this.tensors = files.flatMap((file) => file.header.tensors)
    this.#handles = files.map((file) => file.handle)
    for (const tensor of this.tensors) {
      if (this.#byName.has(tensor.name)) {
        throw new FileError(
          this.files[tensor.file],
          `the tensor ${quote(tensor.name)} is in another part too`,
        )
      }
      this.#byName.set(tensor.name, tensor)
    }
    if (files.length > 1) {
      const count = this.metadata.number('split.tensors.count', this.tensors.length)
      if (count !== this.tensors.length) {
        throw new FileError(
          path,
          `its parts have ${this.tensors.length} tensors, not ${count}; download them again`,
        )
      }
      for (const key of ['split.no', 'split.count', 'split.tensors.count']) this.metadata.delete(key)
    }
  }

  has(name: string): boolean {
    return this.#byName.has(name)
  }

  /** The tensor of that name; a FileError if there is none. */
  tensor(name: string): TensorInfo {
    const tensor = this.#byName.get(name)
    if (!tensor) throw new FileError(this.path, `there is no tensor ${quote(name)}`)
    return tensor
  }

  /** `length` stored bytes of a tensor from byte `start` on (default: all), in a separate buffer. */
  async read(tensor: TensorInfo, start = 0, length = tensor.bytes - start): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = this.#bufferFor(tensor, start, length)
    await this.readInto(bytes, tensor, start)
    return bytes
  }

  /** Fills `bytes` with stored bytes of a tensor from byte `start` on. */
  async readInto(bytes: Uint8Array<ArrayBuffer>, tensor: TensorInfo, start = 0): Promise<void> {
    const { length } = bytes
    this.#checkRange(tensor, start, length)
    for (let at = 0; at < length; ) {
      const position = tensor.offset + start + at
      const wanted = Math.min(length - at, readBytes)
      const { bytesRead } = await this.#handle(tensor)
        .read(bytes, at, wanted, position)
        .catch((error) => {
          throw systemError(this.files[tensor.file], error)
        })
      at += this.#whole(tensor, bytesRead)
    }
  }

  /** Synchronous `read`; blocks the caller. */
  readSync(tensor: TensorInfo, start = 0, length = tensor.bytes - start): Uint8Array<ArrayBuffer> {
    const bytes = this.#bufferFor(tensor, start, length)
    for (let at = 0; at < length; ) {
      const wanted = Math.min(length - at, readBytes)
      try {
        const { fd } = this.#handle(tensor)
        at += this.#whole(tensor, readSync(fd, bytes, at, wanted, tensor.offset + start + at))
      } catch (error) {
        throw systemError(this.files[tensor.file], error)
      }
    }
    return bytes
  }

  #handle(tensor: TensorInfo): FileHandle {
    const handle = this.#handles[tensor.file]
    if (handle) return handle
    throw new FileError(this.files[tensor.file], 'only its header is here; download it with `quench pull`')
  }

  #bufferFor(tensor: TensorInfo, start: number, length: number): Uint8Array<ArrayBuffer> {
    this.#checkRange(tensor, start, length)
    return new Uint8Array(length)
  }

  #checkRange(tensor: TensorInfo, start: number, length: number): void {
    if (start >= 0 && length >= 0 && start + length <= tensor.bytes) return
    throw new RangeError(
      `bytes ${start} to ${start + length} of ${quote(tensor.name)}, which has ${tensor.bytes}`,
    )
  }

  #whole(tensor: TensorInfo, bytesRead: number): number {
    if (bytesRead > 0) return bytesRead
    throw new FileError(
      this.files[tensor.file],
      `the file became shorter while ${quote(tensor.name)} was read`,
    )
  }

  async close(): Promise<void> {
    await Promise.all(this.#handles.map((handle) => handle?.close()))
  }
}
