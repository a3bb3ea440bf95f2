/**
 * The folder of what quench keeps for itself between runs: texts that models wrote, measurements. It is made for its user alone, and
 * what another user put there counts for nothing.
 */

import { lstatSync } from 'node:fs'
import { homedir } from 'node:os'
import { isAbsolute, join } from 'node:path'
import { FileError } from './errors.js'
import { makeFolder } from './folders.js'
import { isOwnersOwn } from './own-files.js'

/** `QUENCH_CACHE`, else `quench` in the user's cache folder, which the XDG specification lets `XDG_CACHE_HOME` name by a whole path. */
export function cacheFolder(): string {
  const { QUENCH_CACHE: own, XDG_CACHE_HOME: xdg } = process.env
  if (own) return own
  return join(xdg && isAbsolute(xdg) ? xdg : join(homedir(), '.cache'), 'quench')
}

/**
 * The cache folder, or one within it, made where it is not there.
 * @throws FileError for a folder that is of another user, or cannot be made
 */
export function ownCacheFolder(...names: string[]): string {
  let folder = cacheFolder()
  for (const name of [undefined, ...names]) {
    if (name !== undefined) folder = join(folder, name)
    makeFolder(folder, 0o700)
    checkOwner(folder, name !== undefined)
  }
  return folder
}

/** @throws FileError for a file or folder of the cache that another user put there; none is no error */
export function checkOwner(path: string, within = true): void {
  const found = lstatSync(path, { throwIfNoEntry: false })
  if (!found) return
  const problem = !isOwnersOwn(found)
    ? 'it belongs to another user'
    : within && found.isSymbolicLink()
      ? 'it is a symbolic link'
      : undefined
  if (problem !== undefined) throw new FileError(path, `${problem}; set QUENCH_CACHE to a folder of your own`)
}
