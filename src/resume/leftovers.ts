/**
 * Files that a run keeps next to its output until it is done, and that an interrupted run has left there: a checkpoint, a folder of
 * finished blocks, and hidden files that no run resumes from.
 */

import { lstatSync, readdirSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { TrainOptions } from '../config/options.js'
import { FileError, UsageError } from '../errors.js'
import { checkWritable, isDiskFull, isTemporary, systemError } from '../files.js'
import { recipes } from '../formats/recipes.js'
import { openGguf } from '../gguf/index.js'
import { fingerprint } from '../models/fingerprint.js'
import { checkOutputs, type Files, type Output, withOutputs } from '../outputs.js'
import { targetOf } from '../paths.js'
import { typeFiles } from '../quantize/options.js'
import { planTypes } from '../quantize/own-plan.js'
import { discardReserved, reservedPath } from '../reserve.js'
import { checkTrainable } from '../student/source.js'
import { checkpointPath } from './checkpoint.js'
import { blocksFolder, hiddenStatesFolder, holdsWork, keepsState, momentsPath } from './disk.js'

/** Metadata key for the fingerprint of the full-precision file that a trained file was made from. */
export const inputKey = 'quench.input'

/**
 * Does the work of a run with its output locked, after dealing with an earlier run's leftovers as the options say.
 * @throws UsageError for an output that is an input, for leftovers without --resume, and for --resume without leftovers
 */
export async function withRun<T extends { readonly path: string }>(
  asked: TrainOptions,
  work: (options: TrainOptions) => Promise<T>,
): Promise<T> {
  // A link is followed: files kept next to the output go to the disk of its target.
  const target = targetOf(asked.output)
  const checkpoint = checkpointPath(target)
  return withOutputs(filesOf(asked), async () => {
    if (!keepsState(asked) && !exists(checkpoint)) remove(blocksFolder(target)) // nothing resumes from it
    if (asked.resume) await checkResumable(asked)
    else await checkLeftovers(target)
    return { ...(await begun(asked, target, work)), path: asked.output }
  })
}

/** Makes the checks of `withRun` without locking or running anything. @throws as `withRun` does */
export async function checkRun(asked: TrainOptions): Promise<void> {
  await checkOutputs(filesOf(asked))
  checkWritable(asked.output)
  if (asked.resume) await checkResumable(asked)
  else await checkLeftovers(targetOf(asked.output))
}

function filesOf({ input, output, imatrix, data = [], tensorTypes = [] }: TrainOptions): Files {
  const write = { path: output, by: 'the output', ...keptBeside(output) }
  const reads = [
    { path: input, by: 'the input' },
    ...(imatrix === undefined ? [] : [{ path: imatrix, by: '--imatrix' }]),
    ...data.map((path) => ({ path, by: '--data' })),
    ...typeFiles(tensorTypes),
  ]
  return { writes: [write], reads }
}

/** Does the work. If it fails and leaves nothing to resume from, its folder is removed. */
async function begun<T>(
  asked: TrainOptions,
  output: string,
  work: (options: TrainOptions) => Promise<T>,
): Promise<T> {
  try {
    return await work({ ...asked, output })
  } catch (error) {
    const isFull = isDiskFull(error) || (error instanceof Error && isDiskFull(error.cause))
    if (!isFull && !asked.signal?.aborted && !holdsWork(output)) remove(blocksFolder(output))
    throw error
  }
}

/** The files that a run keeps next to its output until it is done. */
export function keptBeside(output: string): Pick<Output, 'files' | 'folder'> {
  const target = targetOf(output)
  return { files: [checkpointPath(target)], folder: blocksFolder(target) }
}

/** Whether an earlier run left a checkpoint or a folder of blocks. */
export function hasLeftovers(output: string): boolean {
  const target = targetOf(output)
  return exists(checkpointPath(target)) || exists(blocksFolder(target))
}

/** What an interrupted run has saved. */
export interface SavedWork {
  /** Importances, Fisher information or the validation of the reference quantizer's files. */
  readonly before: boolean
  /** Finished blocks. */
  readonly blocks: number
  /** A checkpoint of the training after them. */
  readonly checkpoint: boolean
}

export function savedWork(output: string): SavedWork {
  const target = targetOf(output)
  const names = within(blocksFolder(target)).map((path) => basename(path))
  return {
    before: names.some((name) => /^(importance|fisher|stock)\.gguf$/.test(name)),
    blocks: names.filter((name) => /^block-\d+\.gguf$/.test(name)).length,
    checkpoint: exists(checkpointPath(target)),
  }
}

/**
 * Whether the output is the result of a finished run of this input and these types.
 * @throws FileError for an input that cannot be read, UsageError for types that cannot be trained
 */
export async function isFinished(asked: TrainOptions): Promise<boolean> {
  const { input, output, type } = asked
  checkTrainable(asked)
  if (hasLeftovers(output)) return false
  const made = await openGguf(output).catch(() => undefined)
  if (!made) return false
  try {
    const { metadata } = made
    const from = metadata.get(inputKey)?.value
    if (metadata.get('general.file_type')?.value !== recipes[type].fileType || from === undefined)
      return false
    const gguf = await openGguf(input)
    try {
      if (from !== (await fingerprint(gguf))) return false
      const planned = planTypes(gguf, type, asked)
      return planned.every(({ name, type }) => made.has(name) && made.tensor(name).type === type)
    } finally {
      await gguf.close()
    }
  } finally {
    await made.close()
  }
}

/** @throws UsageError if an earlier run left work that only --resume may use */
async function checkLeftovers(output: string): Promise<void> {
  const [checkpoint, folder] = [checkpointPath(output), blocksFolder(output)]
  if (!holdsWork(output)) {
    // Left by a run that had only decided, or whose checkpoint was deleted to start over.
    remove(folder)
    await discardReserved(checkpoint)
    return
  }
  const all = [checkpoint, reservedPath(checkpoint), folder].filter(exists)
  throw new UsageError(
    `${listed(all)} ${all.length > 1 ? 'are' : 'is'} left of a run that did not end; add --resume to go on, or delete ${all.length > 1 ? 'them' : 'it'} to start anew`,
  )
}

/** @throws UsageError if there is nothing to resume, FileError for a symbolic link in place of a run's own file */
async function checkResumable(asked: TrainOptions): Promise<void> {
  const output = targetOf(asked.output)
  const [checkpoint, folder] = [checkpointPath(output), blocksFolder(output)]
  if (!hasLeftovers(output)) {
    if (await isFinished(asked)) throw new UsageError(`there is nothing to resume: ${output} is finished`)
    throw new UsageError(
      `there is nothing to resume: neither ${checkpoint} nor ${folder} is there; leave out --resume to begin${exists(output) ? `, which replaces ${output}, a file of another run` : ''}`,
    )
  }
  try {
    // Files of a dead process: their space would be counted as reserved for this one.
    remove(momentsPath(output))
    remove(hiddenStatesFolder(output))
    for (const path of exists(folder) ? [folder, ...within(folder)] : []) {
      if (lstatSync(path).isSymbolicLink())
        throw new FileError(path, 'this is a symbolic link, and no run leaves one; delete it')
      if (isTemporary(path)) remove(path)
    }
    if (exists(checkpoint) && !lstatSync(checkpoint).isFile())
      throw new FileError(checkpoint, 'this is not a regular file, and no run leaves another; delete it')
  } catch (error) {
    throw systemError(folder, error)
  }
}

/** The paths in a folder; none if it is missing or a link. */
function within(folder: string): string[] {
  const isFolder = lstatSync(folder, { throwIfNoEntry: false })?.isDirectory()
  return isFolder ? readdirSync(folder).map((name) => join(folder, name)) : []
}

/** A dangling link counts as existing. */
const exists = (path: string): boolean => lstatSync(path, { throwIfNoEntry: false }) !== undefined
const remove = (path: string): void => rmSync(path, { recursive: true, force: true })

const listed = (paths: readonly string[]): string =>
  paths.length < 2 ? paths.join() : `${paths.slice(0, -1).join(', ')} and ${paths.at(-1)}`
