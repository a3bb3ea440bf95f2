/**
 * What a command writes beside what it reads. Before any work, an output is refused that is a file which the command reads, under
 * whatever name: another spelling, a symbolic or hard link, another part of a split model, a file of a folder of texts, or what is kept
 * beside an output until it is done. Then every output is locked, so that a second run on it is refused while the first one works.
 */
import { dirname, sep } from 'node:path'
import { listFiles } from './data/texts.js'
import { UsageError } from './errors.js'
import { checkWritable, isTemporary, removeAbandoned } from './files.js'
import { partsByName } from './gguf/split.js'
import { type Lock, lockFile, lockPath } from './locks.js'
import { identityOf, realPath, targetOf } from './paths.js'
import { reservedPath } from './reserve.js'
import { warn } from './warnings.js'

interface Input {
  readonly path: string
  /** What a person calls it, e.g. `--data`. */
  readonly by: string
}

export interface Output extends Input {
  /** Other files that are written beside it. */
  readonly files?: readonly string[]
  /** A folder beside it that is removed in the end. */
  readonly folder?: string
  /** Somebody else locks it when it is written. */
  readonly lockedLater?: boolean
  /** What the message calls writing it. */
  readonly doing?: string
}

export interface Files {
  readonly writes: readonly Output[]
  readonly reads: readonly Input[]
}

/** @throws UsageError that names an output and the file that it would overwrite */
export async function checkOutputs({ writes, reads }: Files): Promise<void> {
  const read = (await Promise.all(reads.map(filesOf))).flat()
  const nameless = writes.find(({ path }) => path === '')
  if (nameless) throw new UsageError(`${nameless.by} needs the name of what to write`)
  const claims = writes.map((output) => new Claim(output))
  for (const claim of claims) {
    const { by, path } = claim.output
    for (const input of read) {
      const why = claim.covers(input.path)
      if (why !== undefined)
        throw new UsageError(
          `${by} ${path} would overwrite ${input.path} (${input.by}), which this command reads${why}; choose another name`,
        )
    }
  }
  for (const [i, claim] of claims.entries())
    for (const other of claims.slice(0, i)) {
      const [a, b] = [other.output, claim.output]
      if (claim.covers(a.path) !== undefined || other.covers(b.path) !== undefined)
        throw new UsageError(
          `${a.by} ${a.path} and ${b.by} ${b.path} would overwrite each other; choose another name for one of them`,
        )
    }
}

/**
 * Checks outputs, locks them, removes what killed runs left half written, and does the work.
 * @throws UsageError as `checkOutputs` does; FileError for an output that cannot be written, or that another process is writing
 */
export async function withOutputs<T>(files: Files, work: () => Promise<T>): Promise<T> {
  await checkOutputs(files)
  const own = files.writes.filter(({ lockedLater }) => !lockedLater)
  for (const { path } of own) checkWritable(path)
  const locks: Lock[] = []
  try {
    for (const { path, files: beside = [], doing = 'writing this file' } of own) {
      const lock = await lockFile(path, doing)
      locks.push(lock)
      if (lock.held) for (const each of [path, ...beside]) removeAbandoned(each)
      else warn(`${path}: its file system has no locks; do not start a second run on it meanwhile`)
    }
    return await work()
  } finally {
    for (const lock of locks) lock.release()
  }
}

/** The files that an output takes while it is written. */
class Claim {
  private readonly identity: string
  private readonly beside: ReadonlyMap<string, string>
  private readonly target: string

  constructor(readonly output: Output) {
    const { path, files = [] } = output
    this.identity = identityOf(path)
    this.target = realPath(targetOf(path))
    const names = [...files, ...[path, ...files].flatMap((name) => [lockPath(name), reservedPath(name)])]
    this.beside = new Map(names.map((name) => [identityOf(name), name]))
  }

  /** Undefined unless a file is one of them; else why, as the end of a sentence, empty for the output itself. */
  covers(path: string): string | undefined {
    const { output, target } = this
    const identity = identityOf(path)
    if (identity === this.identity) return ''
    const real = realPath(path)
    const folder = output.folder === undefined ? undefined : realPath(output.folder)
    const used =
      this.beside.get(identity) ??
      (folder !== undefined && `${real}${sep}`.startsWith(`${folder}${sep}`) ? output.folder : undefined) ??
      (dirname(real) === dirname(target) && isTemporary(real, target) ? path : undefined)
    return used === undefined ? undefined : `, since ${used} is used until the output is done`
  }
}

/** A file that is read, with the other parts of its model, or those of a folder. */
async function filesOf({ path, by }: Input): Promise<Input[]> {
  // What cannot be read is told by whoever reads it.
  const files = await listFiles(path).catch(() => [])
  const all = files.length === 1 && files[0] === path ? partsByName(path) : [path, ...files]
  return all.map((name) => ({ path: name, by: name === path ? by : `part of ${by}` }))
}
