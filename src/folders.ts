/** Folders for outputs. */
import { lstatSync, mkdirSync, statSync } from 'node:fs'
import { statfs } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { systemError } from './system-errors.js'

/**
 * Creates a folder and its missing parents. Node's own recursive `mkdir` never returns in a folder like /proc, where nothing
 * can be created and the system reports that the path does not exist.
 * @throws FileError
 */
export function makeFolder(path: string, mode = 0o777): void {
  const missing: string[] = []
  let at = resolve(path)
  try {
    for (; !lstatSync(at, { throwIfNoEntry: false }) && at !== dirname(at); at = dirname(at)) missing.push(at)
    if (!statSync(at).isDirectory()) throw Object.assign(new Error(), { code: 'ENOTDIR' })
    for (const folder of missing.reverse()) makeOne(folder, mode)
  } catch (error) {
    throw systemError(path, error)
  }
}

/** Bytes that are free on the disk of a folder. @throws FileError if there is no such folder */
export async function freeBytesIn(folder: string): Promise<number> {
  try {
    const { bavail, bsize } = await statfs(folder)
    return bavail * bsize
  } catch (error) {
    throw systemError(folder, error)
  }
}

/** Another process may create the same folder at the same time. */
function makeOne(folder: string, mode: number): void {
  try {
    mkdirSync(folder, { mode })
  } catch (error) {
    if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory()) throw error
  }
}
