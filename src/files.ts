/**
 * Output files that are either whole or absent. Everything quench writes goes to a temporary file beside its final
 * name, is flushed to the disk, and is then renamed onto it, so a crash, a full disk or Ctrl-C never leaves half a
 * file under the name a person asked for.
 *
 * Temporary files are registered while they exist; the command line's signal handler calls
 * `removeTemporaryFiles()` before it exits.
 */
import { randomBytes } from 'node:crypto'
import { accessSync, constants, readdirSync, rmSync, statSync } from 'node:fs'
import { access, type FileHandle, open, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { FileError, QuenchError } from './errors.js'
import { discardRoom, keepRoom, roomPath, takeRoom } from './room.js'

const chunkBytes = 1 << 20
const temporaries = new Set<string>()

/**
 * A new hidden name in the folder of `path`, registered for removal. For code that writes the file by itself;
 * follow with `commitTemporary` or `discardTemporary`. A `path` that exists and is not a file is a FileError.
 */
export function temporaryPath(path: string): string {
  let existing: ReturnType<typeof statSync>
  try {
    existing = statSync(path, { throwIfNoEntry: false })
  } catch (error) {
    throw systemError(path, error)
  }
  if (existing?.isDirectory()) throw new FileError(path, 'this is a folder; give the name of a file')
  if (existing && !existing.isFile())
    throw new FileError(path, 'this is not a regular file; give another name')
  removeAbandoned(path)
  const suffix = `${process.pid}.${randomBytes(4).toString('hex')}.tmp`
  const temporary = join(dirname(path), `.${basename(path)}.${suffix}`)
  temporaries.add(temporary)
  return temporary
}

/** Removes temporary files of `path` whose process was killed before it could do so. */
function removeAbandoned(path: string): void {
  const folder = dirname(path)
  let names: string[]
  try {
    names = readdirSync(folder)
  } catch (error) {
    throw systemError(path, error)
  }
  for (const name of names) {
    if (!name.startsWith(`.${basename(path)}.`)) continue
    const pid = /^(\d+)\.[0-9a-f]{8}\.tmp$/.exec(name.slice(basename(path).length + 2))?.[1]
    if (pid !== undefined && !isRunning(Number(pid))) rmSync(join(folder, name), { force: true })
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0) // sends nothing
    return true
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}

/** Says before a long job whether a file or folder is there. @throws FileError if not */
export async function checkReadable(path: string): Promise<void> {
  try {
    await access(path, constants.R_OK)
  } catch (error) {
    throw systemError(path, error)
  }
}

/** Says before a long job whether a file can be written there at all. @throws FileError if not */
export function checkWritable(path: string): void {
  try {
    if (statSync(path, { throwIfNoEntry: false })?.isDirectory())
      throw new FileError(path, 'this is a folder; give the name of a file')
    accessSync(dirname(path), constants.W_OK)
  } catch (error) {
    throw systemError(path, error)
  }
}

/**
 * Opens a new temporary file of `path`, on the room that was reserved for it (room.ts) if there is any: cut it to size when it
 * is written.
 */
export async function openTemporary(path: string): Promise<{ temporary: string; handle: FileHandle }> {
  const temporary = temporaryPath(path)
  try {
    const handle = await open(temporary, (await takeRoom(path, temporary)) ? 'r+' : 'wx')
    return { temporary, handle }
  } catch (error) {
    await discardTemporary(temporary)
    throw systemError(path, error)
  }
}

/**
 * Flushes a closed temporary file to the disk and renames it onto `path`. On failure it is removed: FileError.
 * @param keep the file that is replaced stays as room for the next one
 */
export async function commitTemporary(temporary: string, path: string, keep = false): Promise<void> {
  try {
    const handle = await open(temporary, 'r+')
    try {
      await handle.sync()
    } finally {
      await handle.close()
    }
    if (keep) await keepRoom(path)
    await rename(temporary, path)
    temporaries.delete(temporary)
    await syncFolder(dirname(path))
  } catch (error) {
    await discardTemporary(temporary)
    throw systemError(path, error)
  }
}

/** So that the new name is still there after a loss of power. Not every system can do this to a folder. */
async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, 'r').catch(() => undefined)
  await handle?.sync().catch(() => {})
  await handle?.close()
}

/** Removes a temporary file, if it is there. */
export async function discardTemporary(temporary: string): Promise<void> {
  await rm(temporary, { force: true })
  temporaries.delete(temporary)
}

/** Removes every temporary file at once, without waiting: for the handlers of SIGINT and SIGTERM. */
export function removeTemporaryFiles(): void {
  for (const temporary of temporaries) {
    try {
      rmSync(temporary, { force: true })
    } catch {
      // The process is ending: the other files matter more than the reason of this one.
    }
  }
  temporaries.clear()
}

/**
 * Writes `path` whole or not at all. `data` is the content, or a function that writes it to an open file.
 * A full disk, a missing folder or a missing permission is a FileError.
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

/** Takes `bytes` of room for the file `path`, with what it has already. @throws FileError where the disk is full */
export async function reserveRoom(path: string, bytes: number): Promise<void> {
  const room = roomPath(path)
  try {
    const handle = await open(room, 'a')
    try {
      const zeros = new Uint8Array(chunkBytes)
      let { size } = await handle.stat()
      while (size < bytes) {
        const { bytesWritten } = await handle.write(zeros, 0, Math.min(chunkBytes, bytes - size))
        size += bytesWritten
      }
      await handle.datasync()
    } finally {
      await handle.close()
    }
  } catch (error) {
    await discardRoom(path)
    throw systemError(path, error)
  }
}

const reasons: Record<string, string> = {
  ENOENT: 'no such file or folder',
  ENOTDIR: 'a part of the path before the last is not a folder',
  EISDIR: 'this is a folder; give the name of a file',
  EACCES: 'no permission; check who owns the file and its folder',
  EPERM: 'the system does not allow it; check who owns the file and its folder',
  EROFS: 'the disk is mounted read-only; choose another folder',
  ENOSPC: 'the disk is full; make room or choose another folder',
  EDQUOT: 'the disk quota is used up; make room or choose another folder',
  EFBIG: 'the file is larger than this disk or the limits of this shell allow',
  EMFILE: 'too many open files; raise the limit (ulimit -n)',
  ENAMETOOLONG: 'the name is too long',
  EIO: 'the disk reported an error',
}

/** What the system said about `path`, as a FileError; anything that is not a system error is returned as it is. */
export function systemError(path: string, error: unknown): unknown {
  if (error instanceof QuenchError || !(error instanceof Error) || !('code' in error)) return error
  const code = String(error.code)
  return new FileError(path, reasons[code] ?? `the system answered ${code}`, { cause: error })
}

/** Whether it is an error of `systemError` that says that there is no room. */
export const isDiskFull = (error: unknown): error is FileError =>
  error instanceof FileError &&
  error.cause instanceof Error &&
  'code' in error.cause &&
  (error.cause.code === 'ENOSPC' || error.cause.code === 'EDQUOT')
