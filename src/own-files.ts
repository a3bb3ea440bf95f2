/**
 * quench's own files next to the user's: reserved space, locks, files left by a killed run. Their names are predictable, so an
 * archive or a shared folder may contain a link of that name: they are never opened through one.
 */
import { constants, type Stats } from 'node:fs'
import { type FileHandle, lstat, open, unlink } from 'node:fs/promises'
import { FileError } from './errors.js'

/** Not on Windows, where links need a privilege. */
export const noFollow = (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0)

/**
 * Opens a regular file of this user with a single name, for reading and writing. A link or another user's file of that name is
 * removed and counts as absent.
 * @returns undefined if there is none
 * @throws FileError for a folder of that name, system errors
 */
export async function openOwn(path: string): Promise<FileHandle | undefined> {
  const found = await lstat(path).catch(absent)
  if (!found) return undefined
  if (found.isDirectory())
    throw new FileError(path, 'this is a folder, where quench keeps a file of its own; rename the folder')
  if (!isOwn(found)) {
    await unlink(path)
    return undefined
  }
  const handle = await open(path, constants.O_RDWR | noFollow).catch(absent)
  if (!handle || isOwn(await handle.stat())) return handle
  await handle.close()
  await unlink(path)
  return undefined
}

/** Creates a file, replacing a link or any other file of that name. @throws FileError for a folder, system errors */
export async function createOwn(path: string): Promise<FileHandle> {
  const old = await openOwn(path)
  if (old) {
    await old.close()
    await unlink(path)
  }
  return open(path, 'wx+')
}

/** Removes a symbolic link of this name, so that the next write creates a file. */
export async function removeLink(path: string): Promise<void> {
  if ((await lstat(path).catch(absent))?.isSymbolicLink()) await unlink(path)
}

/** A regular file of this user with a single name. */
export const isOwn = (found: Stats): boolean => found.isFile() && found.nlink === 1 && isOwnersOwn(found)

/** Whether it belongs to this user, or to root, who has all permissions anyway. */
export const isOwnersOwn = ({ uid }: Pick<Stats, 'uid'>): boolean =>
  process.getuid === undefined || uid === process.getuid() || uid === 0

function absent(error: unknown): undefined {
  if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
  throw error
}
