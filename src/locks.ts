/**
 * Locks between processes: a hidden file next to the locked one, `.NAME.lock`, which contains `quench PID` for the message.
 * The lock is the system's (flock; on Windows, a file opened exclusively), so it ends with its process however that ends, and
 * a reused process number means nothing. Node closes its files in child processes, so they do not inherit the lock.
 *
 * The holder removes the file. A process that opened it before that locks a file without a name, and tries again.
 */
import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  lstatSync,
  openSync,
  readSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { setTimeout } from 'node:timers/promises'
import { FileError } from './errors.js'
import { noFollow } from './own-files.js'
import { hiddenPath, targetOf } from './paths.js'
import { systemError } from './system-errors.js'

export interface Lock {
  /** Whether the lock is exclusive: false on a file system without locks. */
  readonly held: boolean
  /** Releases the lock and removes the file. A second call does nothing. */
  release(): void
}

/** Process that holds a lock; undefined if the system does not report it. */
export type Holder = number | undefined

export const lockPath = (path: string): string => hiddenPath(targetOf(path), '.lock')

/**
 * Locks the file or folder of this name, which need not exist.
 * @param doing what the other process does with it, for the message, e.g. `writing this file`
 * @throws FileError that names the process that holds it; FileError if the lock cannot be created
 */
export async function lockFile(path: string, doing: string): Promise<Lock> {
  const lock = await tryLock(path)
  if ('release' in lock) return lock
  throw new FileError(path, `another quench${ofProcess(lock.holder)} is ${doing}; wait until it is done`)
}

/** Like `lockFile`, but waits for the holder. @param onWait called once if the lock is held */
export async function waitForLock(
  path: string,
  onWait: (holder: Holder) => void,
  signal?: AbortSignal,
): Promise<Lock> {
  let told = false
  for (;;) {
    const lock = await tryLock(path)
    if ('release' in lock) return lock
    if (!told) onWait(lock.holder)
    told = true
    await setTimeout(100)
    signal?.throwIfAborted()
  }
}

/** The lock, or its holder. @throws FileError if it cannot be created */
export async function tryLock(path: string): Promise<Lock | { holder: Holder }> {
  const flock = await systemLock()
  try {
    const file = lockPath(path)
    for (;;) {
      const fd = openLock(file)
      if (fd === 'busy') return { holder: undefined }
      if (fd === undefined) continue
      const answer = flock(fd)
      if (answer === 'busy') {
        const holder = holderOf(fd)
        closeSync(fd)
        return { holder }
      }
      if (!isStill(file, fd)) {
        closeSync(fd) // removed by its previous holder
        continue
      }
      ftruncateSync(fd)
      writeSync(fd, `quench ${process.pid}\n`, 0)
      return own(file, fd, answer === 'held')
    }
  } catch (error) {
    throw systemError(path, error)
  }
}

export const ofProcess = (holder: Holder): string => (holder === undefined ? '' : ` (process ${holder})`)

const held = new Set<Lock>()

function own(file: string, fd: number, isHeld: boolean): Lock {
  // Prepended, to run before the handler that ends the process at once during a native call.
  if (held.size === 0) process.prependListener('exit', releaseAll)
  const lock: Lock = {
    held: isHeld,
    release: () => {
      if (!held.delete(lock)) return
      if (held.size === 0) process.off('exit', releaseAll)
      if (isWindows) closeSync(fd) // the name of an open file cannot be removed
      rmSync(file, { force: true })
      if (!isWindows) closeSync(fd)
    },
  }
  held.add(lock)
  return lock
}

function releaseAll(): void {
  for (const lock of held) {
    try {
      lock.release()
    } catch {
      // The process is ending, and the lock with it.
    }
  }
}

const isWindows = process.platform === 'win32'
/** libuv's flag to open a file exclusively; Windows only. */
const UV_FS_O_EXLOCK = 0x10000000

/** Opens a lock file. Undefined: the obstacle is gone, try again. */
function openLock(file: string): number | 'busy' | undefined {
  const found = lstatSync(file, { throwIfNoEntry: false })
  if (found?.isDirectory())
    throw new FileError(file, 'this is a folder, where quench keeps a lock; rename the folder')
  if (found && !(found.isFile() && found.nlink === 1)) {
    rmSync(file, { force: true })
    return undefined
  }
  const flags = constants.O_RDWR | constants.O_CREAT | noFollow | (isWindows ? UV_FS_O_EXLOCK : 0)
  let fd: number
  try {
    fd = openSync(file, flags, 0o600)
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (isWindows && code === 'EBUSY') return 'busy'
    if (code === 'ELOOP') return undefined
    if (found && code === 'EACCES')
      throw new FileError(
        file,
        'this lock is of another user, who may be writing the same file; ask, or remove it',
      )
    throw error
  }
  const { nlink } = fstatSync(fd)
  if (nlink === 1 && /^(quench \d+\n?)?$/.test(textOf(fd))) return fd
  closeSync(fd)
  if (nlink !== 1) return undefined
  throw new FileError(file, 'this is not a lock file of quench, despite its name; rename it')
}

function textOf(fd: number): string {
  const bytes = Buffer.alloc(64)
  return bytes.toString('latin1', 0, readSync(fd, bytes, 0, bytes.length, 0))
}

function holderOf(fd: number): Holder {
  const pid = /^quench (\d+)\n$/.exec(textOf(fd))?.[1]
  return pid === undefined ? undefined : Number(pid)
}

/** Whether the name still refers to the open file. */
function isStill(file: string, fd: number): boolean {
  const [named, opened] = [lstatSync(file, { throwIfNoEntry: false }), fstatSync(fd)]
  return named !== undefined && named.ino === opened.ino && named.dev === opened.dev
}

type SystemLock = (fd: number) => 'held' | 'busy' | 'without'

let loaded: SystemLock | undefined

/** flock(2) through koffi, which takes about 10 ms to load and is already loaded if a model is used. */
async function systemLock(): Promise<SystemLock> {
  if (loaded) return loaded
  if (isWindows) {
    loaded = () => 'held' // by opening it
    return loaded
  }
  const { default: koffi } = await import('koffi')
  const flock = koffi.load(null).func('int flock(int fd, int operation)') as (
    fd: number,
    operation: number,
  ) => number
  const [exclusive, atOnce] = [2, 4]
  const { EAGAIN, EWOULDBLOCK, EINTR } = koffi.os.errno
  loaded = (fd) => {
    for (;;) {
      if (flock(fd, exclusive | atOnce) === 0) return 'held'
      const error = koffi.errno()
      if (error === EAGAIN || error === EWOULDBLOCK) return 'busy'
      if (error !== EINTR) return 'without' // some network file systems have no locks
    }
  }
  return loaded
}
