/**
 * Room on the disk that is taken before it is needed, so that a full disk is found out before the work whose result it would
 * lose. The room for a file is a hidden file beside it that was really written; whoever then writes the file writes over that.
 * File systems that compress, or that never write over what is there, may still run full. It is taken by `reserveRoom` of files.ts.
 */
import { link, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'

export const roomPath = (path: string): string => join(dirname(path), `.${basename(path)}.room`)

/** Gives the room of `path`, if there is any, the name `temporary`, to be written over and cut to size. */
export async function takeRoom(path: string, temporary: string): Promise<boolean> {
  return rename(roomPath(path), temporary).then(
    () => true,
    () => false,
  )
}

/** What the file `path` takes stays as room for the next one when another file is renamed onto it. */
export async function keepRoom(path: string): Promise<void> {
  await discardRoom(path)
  // There may be no file yet, and some file systems have no links: then there is no room.
  await link(path, roomPath(path)).catch(() => {})
}

export async function discardRoom(path: string): Promise<void> {
  await rm(roomPath(path), { force: true })
}
