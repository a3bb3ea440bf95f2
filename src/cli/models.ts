/** Resolves models named on the command line: paths are used as they are; other names are looked up, and downloaded if necessary. */
import { lstatSync } from 'node:fs'
import { dirname } from 'node:path'
import { FileError } from '../errors.js'
import { humanBytes, plural } from '../format.js'
import type { Need } from '../names/choose.js'
import type { PullOptions, ResolvedModel } from '../names/resolve.js'
import { statIfThere } from '../system-errors.js'
import { sayWhenEnded } from './terminal/interrupt.js'
import { printNote, printWarning } from './terminal/print.js'
import { clearProgress, eventLine } from './terminal/progress.js'

/** The resolved model. */
export interface LocalModel {
  readonly path: string
  /** Default outputs are written beside this file; for a file in a cache it is a path in the current folder. */
  readonly beside: string
}

/** Help for a model argument. */
export const modelArgument = (what: string): string => `${what}; or a name such as hf:org/model`

/** @param need what the command accepts. @throws QuenchError if the name matches no model, or several */
export async function localModel(name: string, need: Need): Promise<LocalModel> {
  if (isFile(name)) return { path: name, beside: name }
  const { path, title, repository, kind } = await pulled(name, { need })
  if (kind === 'checkpoint') return { path: await converted(path, title), beside: `${title}.gguf` }
  const own = !repository && path.endsWith('.gguf')
  return { path, beside: own ? path : title }
}

/**
 * The folder of a checkpoint. A repository is downloaded, and its name is returned too.
 * @throws FileError if the folder does not exist
 */
export async function checkpointFolder(name: string): Promise<{ folder: string; repository?: string }> {
  if (statIfThere(name)) return { folder: name }
  const { kind, path, repository } = await pulled(name, { need: 'checkpoint' })
  if (kind !== 'checkpoint')
    throw new FileError(
      name,
      'no such folder; name that of a checkpoint, or a repository such as hf:org/model',
    )
  return { folder: path, ...(repository && { repository: repository.id }) }
}

/** Resolves a name to local files, and prints what is downloaded. */
export async function pulled(
  name: string,
  options: Pick<PullOptions, 'need' | 'connections'>,
): Promise<ResolvedModel> {
  const { pullModel } = await import('../names/resolve.js')
  try {
    return await pullModel(name, {
      ...options,
      onModel: sayPull,
      onNote,
      onProgress: eventLine('downloading', (rate) => `${humanBytes(rate)}/s`, 'pull'),
    })
  } finally {
    clearProgress()
    sayWhenEnded(undefined)
  }
}

/** A checkpoint as a GGUF file in quench's cache. */
async function converted(folder: string, title: string): Promise<string> {
  const { cachedConversion } = await import('../convert/index.js')
  const path = await cachedConversion({
    folder,
    title,
    onNote,
    onProgress: eventLine('converting', (bytes) => `${humanBytes(bytes)}/s`, 'convert'),
    onWarning: printWarning,
  })
  clearProgress()
  return path
}

export const localPath = async (name: string, need: Need): Promise<string> =>
  (await localModel(name, need)).path

/**
 * Resolves names one after the other, so that their messages do not mix.
 * @throws as `localModel`; FileError for a file that does not exist, before any work on the others
 */
export async function localPaths(names: readonly string[], need: Need): Promise<string[]> {
  const paths: string[] = []
  for (const name of names) {
    const path = await localPath(name, need)
    if (!statIfThere(path)) throw new FileError(path, 'no such file or folder')
    paths.push(path)
  }
  return paths
}

/** Whether this is a file, for which the Hub's code need not be loaded. */
function isFile(name: string): boolean {
  try {
    return lstatSync(name, { throwIfNoEntry: false })?.isDirectory() === false
  } catch {
    return true // the reader reports why it cannot be accessed
  }
}

export function onNote(sentence: string): void {
  clearProgress()
  printNote(sentence)
}

/** Describes a download before it starts. */
function sayPull({ name, files, path, kind }: ResolvedModel): void {
  const missing = files.filter(({ present }) => !present)
  const bytes = missing.reduce((sum, file) => sum + file.bytes, 0)
  if (missing.length === 0) return
  const what = missing.length === 1 ? '' : `${plural(missing.length, 'file')}, `
  onNote(
    `downloading ${name} (${what}${humanBytes(bytes)}) into ${kind === 'checkpoint' ? path : dirname(path)}`,
  )
  sayWhenEnded('the download was stopped; what has come is kept, and the same command goes on from there')
}
