/** What a run takes on the disk beside its output, and what an earlier one has left there. */

import { lstatSync, readdirSync } from 'node:fs'
import { lstat, readdir, statfs } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Method } from '../config/methods.js'
import type { TrainOptions } from '../config/options.js'
import type { Plan } from '../config/plan.js'
import { FileError } from '../errors.js'
import { isDiskFull } from '../files.js'
import { gigabytes } from '../format.js'
import { besidePath } from '../paths.js'
import { reservedPath } from '../reserve.js'
import { assignedBytes } from '../student/export.js'
import type { Source } from '../student/source.js'
import { checkpointPath } from './checkpoint.js'

/** The folder of finished blocks. */
export const blocksFolder = (output: string): string => besidePath(output, '.blocks')

/** What a run has decided (resolve-resume.ts). */
export const decisionsPath = (output: string): string => join(blocksFolder(output), 'decisions.json')

/** The teacher's top-k tokens (top-k.ts). */
export const teacherPath = (output: string): string => join(blocksFolder(output), 'teacher')

/** Adam's moments while a run trains (adam-state-file.ts). */
export const momentsPath = (output: string): string => join(blocksFolder(output), 'moments')

/** What flows between blocks (hidden-states.ts). */
export const hiddenStatesFolder = (output: string): string => join(blocksFolder(output), 'streams')

/** Whether an earlier run left more than what it had decided. A link in place of it counts, wherever it leads. */
export function holdsWork(output: string): boolean {
  const folder = blocksFolder(output)
  const [checkpoint, blocks] = [checkpointPath(output), folder].map((path) =>
    lstatSync(path, { throwIfNoEntry: false }),
  )
  const isWork = (name: string): boolean =>
    !name.startsWith('.') && join(folder, name) !== decisionsPath(output)
  return (
    checkpoint !== undefined ||
    (blocks?.isDirectory() ? readdirSync(folder).some(isWork) : blocks !== undefined)
  )
}

/**
 * Free disk decides nothing by itself, since the same command has to make the same file.
 * @param fitting a method that makes do with so many bytes beside the output
 * @throws FileError if the disk of the output has too little room for it, finished blocks, hidden states and checkpoints
 */
export async function checkDisk(
  output: string,
  plan: Plan,
  source: Source,
  types: ReadonlyMap<string, number>,
  fitting: (bytes: number) => Method | undefined,
): Promise<void> {
  const own = assignedBytes(source.gguf, types)
  const needed = plan.diskBytes + own
  const free = await freeBytes(output)
  if (needed <= free) return
  const other = fitting(free - own)
  const advice = other
    ? `make room, choose another folder, or --method ${other}, which fits`
    : 'make room or choose another folder'
  throw new FileError(
    output,
    `training needs about ${gigabytes(needed)} of disk for it and what is kept beside it until the end, and ${gigabytes(free)} are free; ${advice}`,
  )
}

/** A run that never saves leaves nothing behind to go on from. */
export const keepsState = ({ checkpointEvery = 0 }: TrainOptions): boolean => Number.isFinite(checkpointEvery)

/** Does what a full disk interrupts and `--resume` goes on with. @throws FileError that says so */
export async function resumable<T>(options: TrainOptions, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!keepsState(options) || !isDiskFull(error)) throw error
    const problem = 'the disk is full; make room, and the same command with --resume goes on from there'
    throw new FileError(error.path, problem, { cause: error })
  }
}

/** Bytes that a run may take on the disk of its output. */
async function freeBytes(output: string): Promise<number> {
  const { bavail, bsize } = await statfs(dirname(output))
  return bavail * bsize + (await takenBytes(output))
}

/** Bytes that an earlier run has taken already of what this one needs: what it reserved, too. */
export async function takenBytes(output: string): Promise<number> {
  const folder = blocksFolder(output)
  const names = await readdir(folder, { recursive: true }).catch(() => [])
  const checkpoint = checkpointPath(output)
  const sizes = new Map<string, number>() // by file, whatever the number of its names
  for (const path of [checkpoint, reservedPath(checkpoint), ...names.map((name) => join(folder, name))]) {
    const found = await lstat(path).catch(() => undefined)
    if (found?.isFile()) sizes.set(`${found.dev}:${found.ino}`, found.size)
  }
  return [...sizes.values()].reduce((a, b) => a + b, 0)
}
