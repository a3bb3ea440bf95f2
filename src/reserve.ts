/**
 * Disk space reserved before a long computation, so that ENOSPC is raised before the work and not after it. The reserve of a
 * file is a hidden file next to it that was really written; the file is then written over it. File systems that compress or
 * copy on write may still run full. `reserveSpace` of files.ts reserves the space.
 *
 * Only a file with a single name is written over: a process killed between `keepReserved` and the following rename leaves the
 * file itself as its own reserve.
 */

import { type FileHandle, link, lstat, rename, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import { FileError } from './errors.js'
import { freeBytesIn } from './folders.js'
import { isOwn, openOwn } from './own-files.js'
import { hiddenPath, targetOf } from './paths.js'

/** Reserves made by this process: any other file of such a name is left alone. */
const taken = new Set<string>()

export const reservedPath = (path: string): string => hiddenPath(targetOf(path), '.room')

/** Lets `takeReserved` use the reserve of `path`. */
export function noteRoom(path: string): void {
  taken.add(reservedPath(path))
}

/** Renames the reserve of `path`, if this process made one, to `temporary`, and opens it to be overwritten and truncated. */
export async function takeReserved(path: string, temporary: string): Promise<FileHandle | undefined> {
  const room = reservedPath(path)
  if (!taken.delete(room)) return undefined
  const handle = await openOwn(room)
  try {
    if (handle) await rename(room, temporary)
    return handle
  } catch {
    await handle?.close()
    return undefined
  }
}

/** Keeps the space of the file `path` as the reserve of the next one when another file is renamed onto it. */
export async function keepReserved(path: string): Promise<void> {
  await discardReserved(path)
  const found = await lstat(path).catch(() => undefined)
  if (!found || !isOwn(found)) return // its other name may be a user's copy
  // Some file systems have no hard links: then there is no reserve.
  await link(path, reservedPath(path)).then(
    () => noteRoom(path),
    () => {},
  )
}

/** Removes the reserve of `path`, if there is one. A folder of that name is not a reserve. */
export async function discardReserved(path: string): Promise<void> {
  taken.delete(reservedPath(path))
  await unlink(reservedPath(path)).catch(() => {})
}

/** Checks before work whose output would not fit. @throws FileError if the disk of `output` has less than `needed` bytes free */
export async function checkFreeSpace(output: string, needed: number): Promise<void> {
  const free = await freeBytesIn(dirname(targetOf(output)))
  if (needed <= free) return
  const megabytes = (bytes: number) => `${Math.ceil(bytes / 1e6)} MB`
  throw new FileError(
    output,
    `it will take ${megabytes(needed)} and the disk has ${megabytes(free)} free; make room or choose another folder`,
  )
}
