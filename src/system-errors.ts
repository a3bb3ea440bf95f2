/** System errors about a file, as a sentence for the user. */
import { type Dirent, readdirSync, type Stats, statSync } from 'node:fs'
import { FileError, QuenchError } from './errors.js'

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
  ELOOP: 'its symbolic links lead to each other',
  EXDEV: 'its symbolic link was changed meanwhile to lead to another disk',
  EIO: 'the disk reported an error',
}

/** A system error about `path` as a FileError; any other error is returned unchanged. */
export function systemError(path: string, error: unknown): unknown {
  if (error instanceof QuenchError || !(error instanceof Error) || !('code' in error)) return error
  const code = String(error.code)
  return new FileError(path, reasons[code] ?? `the system answered ${code}`, { cause: error })
}

/** Whether an error of `systemError` reports a full disk. */
export const isDiskFull = (error: unknown): error is FileError =>
  error instanceof FileError &&
  error.cause instanceof Error &&
  'code' in error.cause &&
  (error.cause.code === 'ENOSPC' || error.cause.code === 'EDQUOT')

/** What lies at `path`, where links lead; undefined if nothing does. @throws FileError if that cannot be looked up */
export function statIfThere(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false })
  } catch (error) {
    throw systemError(path, error)
  }
}

/** The entries of a folder. @throws FileError if it cannot be read */
export function entriesOf(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
  } catch (error) {
    throw systemError(folder, error)
  }
}
