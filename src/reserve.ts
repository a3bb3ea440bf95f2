/**
 * Room on the disk that is taken before it is needed, so that a full disk is found out before the work whose result it would
 * lose. The room for a file is a hidden file beside it that was really written; whoever then writes the file writes over that.
 * File systems that compress, or that never write over what is there, may still run full. It is taken by `reserveSpace` of files.ts.
 *
 * Only a file with one name is written over: a process that is killed between `keepReserved` and the renaming that follows leaves the file
 * itself as its own room.
 */
import { type FileHandle, link, lstat, rename, unlink } from 'node:fs/promises'
import { isOwn, openOwn } from './own-files.js'
import { hiddenPath, targetOf } from './paths.js'

/** Rooms that this process has taken: a file of the name that is there without its doing is left alone. */
const taken = new Set<string>()

export const reservedPath = (path: string): string => hiddenPath(targetOf(path), '.room')

/** Lets `takeReserved` use the room of `path`. */
export function noteRoom(path: string): void {
  taken.add(reservedPath(path))
}

/** Gives the room of `path`, if this process has taken any, the name `temporary`, and opens it to be written over and cut to size. */
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

/** What the file `path` takes stays as room for the next one when another file is renamed onto it. */
export async function keepReserved(path: string): Promise<void> {
  await discardReserved(path)
  const found = await lstat(path).catch(() => undefined)
  if (!found || !isOwn(found)) return // another name of it is somebody's copy
  // Some file systems have no links: then there is no room.
  await link(path, reservedPath(path)).then(
    () => noteRoom(path),
    () => {},
  )
}

/** Removes the room of `path`, if there is any. A folder of that name is none. */
export async function discardReserved(path: string): Promise<void> {
  taken.delete(reservedPath(path))
  await unlink(reservedPath(path)).catch(() => {})
}
