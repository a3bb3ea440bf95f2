/**
 * The folder of data that quench keeps between runs: self-written texts and measurements. It is private to its user; files of
 * other users in it are not used.
 */

import { lstatSync } from 'node:fs'
import { homedir } from 'node:os'
import { isAbsolute, join } from 'node:path'
import { FileError } from './errors.js'
import { makeFolder } from './folders.js'
import { isOwnersOwn } from './own-files.js'

/**
 * `QUENCH_CACHE`, else `quench` in the user's cache folder, which `XDG_CACHE_HOME` may set to an absolute path (XDG
 * specification).
 */
export function cacheFolder(): string {
  const { QUENCH_CACHE: own, XDG_CACHE_HOME: xdg } = process.env
  if (own) return own
  return join(xdg && isAbsolute(xdg) ? xdg : join(homedir(), '.cache'), 'quench')
}

/**
 * The cache folder, or one within it, created if missing.
 * @throws FileError for a folder of another user, or one that cannot be created
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

/** @throws FileError for a file or folder of the cache that belongs to another user; a missing one is no error */
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

/** The model of zeros that measures a machine; it is there only while it runs. */
export const probeModel = 'probe.gguf'

/** Families of the catalogue as they were refreshed from the Hub. */
export const refreshedFamilies = 'catalogue.json'
