/**
 * Output files that are either complete or absent. Everything quench writes goes to a temporary file next to its final name,
 * is flushed to disk, and is then renamed, so a crash, a full disk or Ctrl-C never leaves a partial file under the requested
 * name.
 *
 * Temporary files are registered while they exist; the command line's signal handler calls `removeTemporaryFiles()` before it
 * exits.
 */
import { randomBytes } from 'node:crypto'
import { accessSync, constants, readdirSync, rmSync, type Stats, statSync } from 'node:fs'
import { access, chmod, type FileHandle, open, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { FileError } from './errors.js'
import { openOwn } from './own-files.js'
import { hiddenPath, partPath, targetOf } from './paths.js'
import { discardReserved, keepReserved, noteRoom, reservedPath, takeReserved } from './reserve.js'
import { systemError } from './system-errors.js'

export { isDiskFull, systemError } from './system-errors.js'

const chunkBytes = 1 << 20
/** Existing temporary files, with their targets. */
const temporaries = new Map<string, { readonly target: string; readonly replaced: Stats | undefined }>()

/**
 * A new hidden name in the folder of `path`, registered for removal; for a symbolic link, in the folder of its target. For
 * code that writes the file itself; follow with `commitTemporary` or `discardTemporary`. A `path` that exists and is not a
 * file is a FileError.
 */
export function temporaryPath(path: string): string {
  try {
    const { target, found } = fileOf(path)
    const temporary = hiddenPath(target, `.${process.pid}.${randomBytes(4).toString('hex')}.tmp`)
    temporaries.set(temporary, { target, replaced: found })
    return temporary
  } catch (error) {
    throw systemError(path, error)
  }
}

/** The path that an output is written to, and the file there. @throws FileError if it is not a file */
function fileOf(path: string): { target: string; found: Stats | undefined } {
  const target = targetOf(path)
  const found = statSync(target, { throwIfNoEntry: false })
  if (found?.isDirectory()) throw new FileError(path, 'this is a folder; give the name of a file')
  if (found && !found.isFile()) throw new FileError(path, 'this is not a regular file; give another name')
  return { target, found }
}

/**
 * Removes temporary files of `path` whose process was killed before it could do so. The caller must hold the lock of `path`:
 * the process number in their names is not reliable, since another process, perhaps in another container, may have it by now.
 */
export function removeAbandoned(path: string): void {
  removeTemporariesIn(dirname(targetOf(path)), path)
}

/** Removes the temporary files of a folder, or those of one file in it. */
export function removeTemporariesIn(folder: string, path?: string): void {
  try {
    for (const name of readdirSync(folder)) {
      const found = join(folder, name)
      if (isTemporary(found, path) && !temporaries.has(found)) rmSync(found, { force: true })
    }
  } catch (error) {
    throw systemError(folder, error)
  }
}

/** Whether a file has the name of a temporary file (of `path`, if given). */
export function isTemporary(temporary: string, path?: string): boolean {
  const [, stem] =
    /^(\..*\.)\d+\.[0-9a-f]{8}\.tmp(?:-\d{5}-of-\d{5}\.gguf)?$/s.exec(basename(temporary)) ?? []
  return stem !== undefined && (path === undefined || stem === basename(hiddenPath(targetOf(path), '.')))
}

/** Checks before a long job that a file or folder exists. @throws FileError if not */
export async function checkReadable(path: string): Promise<void> {
  try {
    await access(path, constants.R_OK)
  } catch (error) {
    throw systemError(path, error)
  }
}

/** Checks before a long job that a file can be written. @throws FileError if not */
export function checkWritable(path: string): void {
  let folder = path
  try {
    folder = dirname(fileOf(path).target)
    accessSync(folder, constants.W_OK)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT')
      throw new FileError(path, `its folder ${folder} does not exist; make it first`, { cause: error })
    throw systemError(folder, error)
  }
}

/**
 * Opens a new temporary file of `path`, on the space reserved for it (reserve.ts) if there is any: truncate it after writing.
 * Except for its owner, only users who can read the file that it replaces can read it.
 */
export async function openTemporary(path: string): Promise<{ temporary: string; handle: FileHandle }> {
  const temporary = temporaryPath(path)
  const replaced = temporaries.get(temporary)?.replaced
  try {
    const handle = (await takeReserved(path, temporary)) ?? (await open(temporary, 'wx', modeAfter(replaced)))
    return { temporary, handle }
  } catch (error) {
    await discardTemporary(temporary)
    throw systemError(path, error)
  }
}

const modeAfter = (replaced: Stats | undefined): number =>
  replaced === undefined ? 0o666 : (replaced.mode & 0o777) | 0o600

/**
 * The same for the parts of a split model, for code that names parts after a `prefix`: temporary files of the first part's name, each
 * to be committed to its own.
 */
export async function openTemporaryParts(
  paths: readonly string[],
): Promise<{ prefix: string; temporaries: string[] }> {
  const made: string[] = []
  try {
    const prefix = hiddenPath(
      fileOf(paths[0]).target,
      `.${process.pid}.${randomBytes(4).toString('hex')}.tmp`,
    )
    for (const [part, path] of paths.entries()) {
      const temporary = partPath(prefix, part, paths.length)
      const { target, found } = fileOf(path)
      temporaries.set(temporary, { target, replaced: found })
      made.push(temporary)
      const handle = await open(temporary, 'wx', modeAfter(found))
      await handle.close()
    }
    return { prefix, temporaries: made }
  } catch (error) {
    for (const temporary of made) await discardTemporary(temporary)
    throw systemError(paths[0], error)
  }
}

/**
 * Flushes a closed temporary file to disk and renames it to `path`. If that fails, it is removed: FileError. It keeps the
 * permissions of the file that it replaces.
 * @param keep keeps the replaced file as the reserve of the next one
 */
export async function commitTemporary(temporary: string, path: string, keep = false): Promise<void> {
  const { target, replaced } = temporaries.get(temporary) ?? { target: targetOf(path), replaced: undefined }
  try {
    const handle = await open(temporary, 'r+')
    try {
      await handle.sync()
    } finally {
      await handle.close()
    }
    // Some file systems have no permissions.
    if (replaced) await chmod(temporary, replaced.mode & 0o777).catch(() => {})
    if (keep) await keepReserved(target)
    await rename(temporary, target)
    temporaries.delete(temporary)
    await syncFolder(dirname(target))
  } catch (error) {
    await discardTemporary(temporary)
    throw systemError(path, error)
  }
}

/** Makes the new name survive a loss of power. Not every system supports this for folders. */
async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, 'r').catch(() => undefined)
  await handle?.sync().catch(() => {})
  await handle?.close()
}

/** Removes a temporary file, if it exists. */
export async function discardTemporary(temporary: string): Promise<void> {
  await rm(temporary, { force: true })
  temporaries.delete(temporary)
}

/** Functions that each end another process which may be about to create a temporary file of this one. */
export const writers = new Set<() => void>()

/** Removes every temporary file synchronously: for the handlers of SIGINT and SIGTERM. */
export function removeTemporaryFiles(): void {
  for (const end of writers) end()
  for (const temporary of temporaries.keys()) {
    try {
      rmSync(temporary, { force: true })
    } catch {
      // The process is ending: removing the other files matters more than this error.
    }
  }
  temporaries.clear()
}

/**
 * Writes `path` completely or not at all. `data` is the content, or a function that writes it to an open file. A full disk, a
 * missing folder or a missing permission is a FileError.
 */
export async function atomicWrite(
  path: string,
  data: string | Uint8Array | ((handle: FileHandle) => Promise<void>),
): Promise<void> {
  const { temporary, handle } = await openTemporary(path)
  try {
    try {
      if (typeof data === 'function') {
        await handle.truncate()
        await data(handle)
      } else {
        await handle.writeFile(data)
        await handle.truncate(Buffer.byteLength(data))
      }
    } finally {
      await handle.close()
    }
  } catch (error) {
    await discardTemporary(temporary)
    throw systemError(path, error)
  }
  await commitTemporary(temporary, path)
}

/**
 * Reserves `bytes` of disk space for the file `path`, including any space it already has. @throws FileError if the disk is
 * full
 */
export async function reserveSpace(path: string, bytes: number): Promise<void> {
  const room = reservedPath(path)
  try {
    const handle = (await openOwn(room)) ?? (await open(room, 'wx'))
    try {
      const zeros = new Uint8Array(chunkBytes)
      let { size } = await handle.stat()
      while (size < bytes) {
        const length = Math.min(chunkBytes, bytes - size)
        const { bytesWritten } = await handle.write(zeros, 0, length, size)
        size += bytesWritten
      }
      await handle.datasync()
      noteRoom(path)
    } finally {
      await handle.close()
    }
  } catch (error) {
    await discardReserved(path)
    throw systemError(path, error)
  }
}
