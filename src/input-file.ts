/**
 * Reads files safely. A path on the command line or in an untrusted file may name a pipe, a device or an entry of /proc, which
 * may never end or never begin: only regular files are read, and no more than their size when opened.
 */
import { constants } from 'node:fs'
import { type FileHandle, open, stat } from 'node:fs/promises'
import { FileError } from './errors.js'
import { systemError } from './files.js'

export interface InputFile {
  readonly handle: FileHandle
  /** Size in bytes. */
  readonly size: number
}

/** Opens a regular file for reading, without ever blocking. @throws FileError for anything else */
export async function openInput(path: string): Promise<InputFile> {
  try {
    checkRegular(path, await stat(path)) // before opening, which may already affect a device
    // Does not block if a pipe has replaced the file in the meantime.
    const handle = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0))
    try {
      const found = await handle.stat()
      checkRegular(path, found)
      return { handle, size: found.size }
    } catch (error) {
      await handle.close()
      throw error
    }
  } catch (error) {
    throw systemError(path, error)
  }
}

/** @throws FileError for anything that is not a regular file according to `stat` */
export function checkRegular(path: string, found: { isDirectory(): boolean; isFile(): boolean }): void {
  if (found.isDirectory()) throw new FileError(path, 'this is a folder; give the name of a file')
  if (!found.isFile())
    throw new FileError(
      path,
      'this is not a regular file but a pipe, device or socket; save its content to a file and name that',
    )
}

/** All bytes of a regular file. @param most limit of its size in bytes. @throws FileError */
export async function readInput(path: string, most: number): Promise<Buffer> {
  const { handle, size } = await openInput(path)
  try {
    if (size > most)
      throw new FileError(path, `it is larger than ${most / 1e6} MB; split it into several files`)
    const bytes = Buffer.allocUnsafe(size)
    let done = 0
    while (done < size) {
      const { bytesRead } = await handle.read(bytes, done, size - done, done)
      if (bytesRead === 0) break // truncated in the meantime
      done += bytesRead
    }
    return bytes.subarray(0, done)
  } catch (error) {
    throw systemError(path, error)
  } finally {
    await handle.close()
  }
}
