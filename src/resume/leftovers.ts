/**
 * What a run keeps beside its output until it is done, and what one that did not end has left there: a checkpoint, a folder of
 * finished blocks, and hidden files that none goes on from.
 */
import { lstatSync, readdirSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { TrainOptions } from '../config/options.js'
import { FileError, UsageError } from '../errors.js'
import { isDiskFull, isTemporary, systemError } from '../files.js'
import { recipes } from '../formats/recipes.js'
import { openGguf } from '../gguf/index.js'
import { fingerprint } from '../models/fingerprint.js'
import { checkOutputs, type Files, type Output, withOutputs } from '../outputs.js'
import { targetOf } from '../paths.js'
import { discardReserved, reservedPath } from '../reserve.js'
import { checkpointPath } from './checkpoint.js'
import { blocksFolder, hiddenStatesFolder, holdsWork, keepsState, momentsPath } from './disk.js'

/** Names the full-precision file that a trained file was made from. */
export const inputKey = 'quench.input'

/**
 * Does the work of a run while nobody else may write its output, with what an earlier run left as the options say.
 * @throws UsageError for an output that is an input, for what is left where nothing is to be resumed, and for nothing to resume
 */
export async function withRun<T extends { readonly path: string }>(
  asked: TrainOptions,
  work: (options: TrainOptions) => Promise<T>,
): Promise<T> {
  // Where a link leads is where there is room for what is kept beside it.
  const target = targetOf(asked.output)
  const checkpoint = checkpointPath(target)
  return withOutputs(filesOf(asked), async () => {
    if (!keepsState(asked) && !exists(checkpoint)) remove(blocksFolder(target)) // nobody goes on from it
    if (asked.resume) await checkResumable(asked)
    else await checkLeftovers(target)
    return { ...(await begun(asked, target, work)), path: asked.output }
  })
}

/** What would refuse a run before its work, without taking anything. @throws as `withRun` does */
export async function checkRun(asked: TrainOptions): Promise<void> {
  await checkOutputs(filesOf(asked))
  if (asked.resume) await checkResumable(asked)
  else await checkLeftovers(targetOf(asked.output))
}

function filesOf({ input, output, data = [] }: TrainOptions): Files {
  const write = { path: output, by: 'the output', ...keptBeside(output) }
  const reads = [{ path: input, by: 'the input' }, ...data.map((path) => ({ path, by: '--data' }))]
  return { writes: [write], reads }
}

/** Does the work. What one that failed leaves, and not for --resume, is removed. */
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

/** What a run keeps beside its output until it is done. */
export function keptBeside(output: string): Pick<Output, 'files' | 'folder'> {
  const target = targetOf(output)
  return { files: [checkpointPath(target)], folder: blocksFolder(target) }
}

/** Whether an earlier run left something to go on from. */
export function hasLeftovers(output: string): boolean {
  const target = targetOf(output)
  return exists(checkpointPath(target)) || exists(blocksFolder(target))
}

/** What an interrupted run has saved: the number of finished blocks, and whether there is a checkpoint of the training after them. */
export function savedWork(output: string): { readonly blocks: number; readonly checkpoint: boolean } {
  const target = targetOf(output)
  const names = within(blocksFolder(target)).map((path) => basename(path))
  return {
    blocks: names.filter((name) => /^block-\d+\.gguf$/.test(name)).length,
    checkpoint: exists(checkpointPath(target)),
  }
}

/**
 * Whether a file is what a run of this input and type has made that left nothing to do.
 * @throws FileError for an input that cannot be read
 */
export async function isFinished({
  input,
  output,
  type,
}: Pick<TrainOptions, 'input' | 'output' | 'type'>): Promise<boolean> {
  if (hasLeftovers(output)) return false
  const made = await openGguf(output).catch(() => undefined)
  if (!made) return false
  try {
    const { metadata } = made
    const from = metadata.get(inputKey)?.value
    if (metadata.get('general.file_type')?.value !== recipes[type]?.fileType || from === undefined)
      return false
    const gguf = await openGguf(input)
    try {
      return from === (await fingerprint(gguf))
    } finally {
      await gguf.close()
    }
  } finally {
    await made.close()
  }
}

/** @throws UsageError if an earlier run left something that this one would go on from only if told to */
async function checkLeftovers(output: string): Promise<void> {
  const [checkpoint, folder] = [checkpointPath(output), blocksFolder(output)]
  if (!holdsWork(output)) {
    // Of a run that had only decided, or whose checkpoint was deleted to start anew.
    remove(folder)
    await discardReserved(checkpoint)
    return
  }
  const all = [checkpoint, reservedPath(checkpoint), folder].filter(exists)
  throw new UsageError(
    `${listed(all)} ${all.length > 1 ? 'are' : 'is'} left of a run that did not end; add --resume to go on, or delete ${all.length > 1 ? 'them' : 'it'} to start anew`,
  )
}

/** @throws UsageError if there is nothing to go on from, FileError for a link where a run has files of its own */
async function checkResumable(asked: TrainOptions): Promise<void> {
  const output = targetOf(asked.output)
  const [checkpoint, folder] = [checkpointPath(output), blocksFolder(output)]
  if (!hasLeftovers(output)) {
    if (await isFinished(asked)) throw new UsageError(`there is nothing to resume: ${output} is finished`)
    throw new UsageError(
      `there is nothing to resume: neither ${checkpoint} nor ${folder} is there; leave out --resume to begin`,
    )
  }
  try {
    // What belongs to a process: it would be counted as space that this one need not take.
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

/** What is in a folder; nothing where there is none, or a link in its place. */
function within(folder: string): string[] {
  const isFolder = lstatSync(folder, { throwIfNoEntry: false })?.isDirectory()
  return isFolder ? readdirSync(folder).map((name) => join(folder, name)) : []
}

/** A link that leads nowhere counts. */
const exists = (path: string): boolean => lstatSync(path, { throwIfNoEntry: false }) !== undefined
const remove = (path: string): void => rmSync(path, { recursive: true, force: true })

const listed = (paths: readonly string[]): string =>
  paths.length < 2 ? paths.join() : `${paths.slice(0, -1).join(', ')} and ${paths.at(-1)}`
