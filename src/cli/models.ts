/** Models of the command line: a path is what it is, and any other name is looked up, and downloaded if need be. */
import { lstatSync } from 'node:fs'
import { dirname } from 'node:path'
import { UsageError } from '../errors.js'
import { humanBytes, plural } from '../format.js'
import type { Need } from '../names/choose.js'
import type { ResolvedModel } from '../names/resolve.js'
import type { ProgressEvent } from '../notices.js'
import { statIfThere } from '../system-errors.js'
import { printNote, printWarning } from './terminal/print.js'
import { clearProgress, eventLine } from './terminal/progress.js'

/** What a command reads for a name. */
export interface LocalModel {
  readonly path: string
  /** The file that outputs without a name of their own lie beside; of what lies in a cache, one in the current folder. */
  readonly beside: string
}

/** What help says of a model's argument. */
export const modelArgument = (what: string): string => `${what}; or a name such as hf:org/model`

/** @param need what the command can use. @throws QuenchError for a name that stands for no model, or for several */
export async function localModel(name: string, need: Need): Promise<LocalModel> {
  if (isFile(name)) return { path: name, beside: name }
  const { pullModel } = await import('../names/resolve.js')
  const model = await pullModel(name, { need, onModel: sayPull, onNote, onProgress: pullProgress() })
  clearProgress()
  const { path, title, repository, kind } = model
  if (kind === 'checkpoint') return { path: await converted(path, title), beside: `${title}.gguf` }
  const own = !repository && path.endsWith('.gguf')
  return { path, beside: own ? path : title }
}

/** The folder of a checkpoint, downloaded if the name is that of a repository. @throws UsageError for a folder that is not there */
export async function checkpointFolder(name: string): Promise<string> {
  if (statIfThere(name)) return name
  const { pullModel } = await import('../names/resolve.js')
  const model = await pullModel(name, {
    need: 'checkpoint',
    onModel: sayPull,
    onNote,
    onProgress: pullProgress(),
  })
  clearProgress()
  if (model.kind !== 'checkpoint')
    throw new UsageError(`there is no folder ${name}; name the folder of a checkpoint, or a repository`)
  return model.path
}

/** A checkpoint as a GGUF file in quench's cache. */
async function converted(folder: string, title: string): Promise<string> {
  const { cachedConversion } = await import('../convert/index.js')
  const path = await cachedConversion({
    folder,
    title,
    onConvert: (type) =>
      onNote(`converting the checkpoint ${folder} to ${type}; the file is kept in the cache`),
    onProgress: eventLine('converting', (bytes) => `${humanBytes(bytes)}/s`, 'convert'),
    onWarning: printWarning,
  })
  clearProgress()
  return path
}

export const localPath = async (name: string, need: Need): Promise<string> =>
  (await localModel(name, need)).path

/** One after the other, so that their messages do not mix. */
export async function localPaths(names: readonly string[], need: Need): Promise<string[]> {
  const paths: string[] = []
  for (const name of names) paths.push(await localPath(name, need))
  return paths
}

/** No code of the Hub is loaded for a file. */
function isFile(name: string): boolean {
  try {
    return lstatSync(name, { throwIfNoEntry: false })?.isDirectory() === false
  } catch {
    return true // its reader tells why it cannot be looked at
  }
}

export function onNote(sentence: string): void {
  clearProgress()
  printNote(sentence)
}

export const pullProgress = (): ((event: ProgressEvent) => void) =>
  eventLine('downloading', (rate) => `${humanBytes(rate)}/s`, 'pull')

/** What is about to be downloaded. */
export function sayPull({ name, files, path, kind }: ResolvedModel): void {
  const missing = files.filter(({ present }) => !present)
  const bytes = missing.reduce((sum, file) => sum + file.bytes, 0)
  if (missing.length === 0) return
  const what = missing.length === 1 ? '' : `${plural(missing.length, 'file')}, `
  onNote(
    `downloading ${name} (${what}${humanBytes(bytes)}) into ${kind === 'checkpoint' ? path : dirname(path)}`,
  )
}
