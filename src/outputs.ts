/**
 * A command's outputs against its inputs. Before any work, an output is refused if it is a file that the command reads, under
 * any name: another spelling, a symbolic or hard link, another part of a split model, a file of a folder of texts, or a file
 * kept next to an output until it is complete. Then every output is locked, so that a second run on it is refused during the
 * first.
 */
import { existsSync } from 'node:fs'
import { dirname, sep } from 'node:path'
import { listFiles } from './data/texts.js'
import { UsageError } from './errors.js'
import { checkReadable, checkWritable, isTemporary, removeAbandoned } from './files.js'
import { partsByName } from './gguf/split.js'
import { type Lock, lockFile, lockPath } from './locks.js'
import { warn } from './notices.js'
import { identityOf, realPath, targetOf } from './paths.js'
import { reservedPath } from './reserve.js'

interface Input {
  readonly path: string
  /** The user's name for it, e.g. `--data`. */
  readonly by: string
}

export interface Output extends Input {
  /** Other files that are written next to it. */
  readonly files?: readonly string[]
  /** A folder next to it that is removed at the end. */
  readonly folder?: string
  /** Another function locks it when it is written. */
  readonly lockedLater?: boolean
  /** Description of writing it, for the message. */
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
 * Checks outputs, locks them, removes partial files of killed runs, and runs the work.
 * @throws UsageError like `checkOutputs`; FileError for an output that cannot be written, or that another process is writing
 */
export async function withOutputs<T>(files: Files, work: () => Promise<T>): Promise<T> {
  await checkOutputs(files)
  const own = files.writes.filter(({ lockedLater }) => !lockedLater)
  for (const { path } of own) {
    // An output that lies beside an input by default is not what is missing.
    if (!existsSync(dirname(path))) for (const read of files.reads) await checkReadable(read.path)
    checkWritable(path)
  }
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

/** The files that an output occupies while it is written. */
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

  /** Undefined unless the file is one of them; else the reason, as the end of a sentence, empty for the output itself. */
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

/** An input file with the other parts of its model, or the files of an input folder. */
async function filesOf({ path, by }: Input): Promise<Input[]> {
  // Files that cannot be read are reported by their reader.
  const files = await listFiles(path).catch(() => [])
  const all = files.length === 1 && files[0] === path ? partsByName(path) : [path, ...files]
  return all.map((name) => ({ path: name, by: name === path ? by : `part of ${by}` }))
}
