/** Disk space and files of a run in addition to its output, and those that an earlier run has left. */

import { lstatSync, readdirSync } from 'node:fs'
import { lstat, readdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Method } from '../config/methods.js'
import type { TrainOptions } from '../config/options.js'
import type { Plan } from '../config/plan.js'
import { FileError } from '../errors.js'
import { isDiskFull } from '../files.js'
import { freeBytesIn } from '../folders.js'
import { gigabytes } from '../format.js'
import { besidePath } from '../paths.js'
import { reservedPath } from '../reserve.js'
import { assignedBytes } from '../student/export.js'
import type { Source } from '../student/source.js'
import { checkpointPath } from './checkpoint.js'

/** The folder of finished blocks. */
export const blocksFolder = (output: string): string => besidePath(output, '.blocks')

/** The decisions of a run (resolve-resume.ts). */
export const decisionsPath = (output: string): string => join(blocksFolder(output), 'decisions.json')

/** The teacher's top-k tokens (top-k.ts). */
export const teacherPath = (output: string): string => join(blocksFolder(output), 'teacher')

/** Adam's moments while a run trains (adam-state-file.ts). */
export const momentsPath = (output: string): string => join(blocksFolder(output), 'moments')

/** Hidden states between blocks (hidden-states.ts). */
export const hiddenStatesFolder = (output: string): string => join(blocksFolder(output), 'streams')

/** Whether an earlier run left more than its decisions. A link in place of a file or folder counts, wherever it points. */
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
 * Checks the free disk space. It never changes the method, since the same command has to make the same file.
 * @param fitting returns a method that fits in a number of bytes in addition to the output
 * @throws FileError if the output's disk has too little space for it, finished blocks, hidden states and checkpoints
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

/** Whether a run can be resumed: one that never saves cannot. */
export const keepsState = ({ checkpointEvery = 0 }: TrainOptions): boolean => Number.isFinite(checkpointEvery)

/** Does work that can be resumed after a full disk. @throws FileError that says so if the disk is full */
export async function resumable<T>(options: TrainOptions, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!keepsState(options) || !isDiskFull(error)) throw error
    const problem = 'the disk is full; make room, and the same command with --resume goes on from there'
    throw new FileError(error.path, problem, { cause: error })
  }
}

/** Bytes available to a run on the output's disk. */
async function freeBytes(output: string): Promise<number> {
  return (await freeBytesIn(dirname(output))) + (await takenBytes(output))
}

/** Bytes of an earlier run's files, including reserved space, which this run can reuse. */
export async function takenBytes(output: string): Promise<number> {
  const folder = blocksFolder(output)
  const names = await readdir(folder, { recursive: true }).catch(() => [])
  const checkpoint = checkpointPath(output)
  const sizes = new Map<string, number>() // by file, so that hard links count once
  for (const path of [checkpoint, reservedPath(checkpoint), ...names.map((name) => join(folder, name))]) {
    const found = await lstat(path).catch(() => undefined)
    if (found?.isFile()) sizes.set(`${found.dev}:${found.ino}`, found.size)
  }
  return [...sizes.values()].reduce((a, b) => a + b, 0)
}
