/** From the name of a model to its files: those that are here, and those that would have to be downloaded. */
import { existsSync } from 'node:fs'
import { dirname, join, relative, sep } from 'node:path'
import { checkpointFiles } from '../checkpoint/index.js'
import { FileError } from '../errors.js'
import { HubCache } from '../hub/cache.js'
import { HubClient, type HubOptions } from '../hub/client.js'
import { download } from '../hub/download.js'
import { openRepository } from '../hub/listing.js'
import { nameOf, type Repository, type RepositoryFile, sha256Of } from '../hub/repository.js'
import { hubSettings } from '../hub/settings.js'
import type { ProgressEvent } from '../notices.js'
import { checkOptionNames, type OptionNames } from '../option-checks.js'
import { entriesOf, statIfThere } from '../system-errors.js'
import { choose, type Need } from './choose.js'
import { type HubName, type PathName, parseName, type StoreName } from './parse.js'
import {
  lmStudioFolder,
  lmStudioModel,
  lmStudioNames,
  ollamaFolder,
  ollamaModel,
  ollamaNames,
} from './stores.js'

export interface ResolvedFile {
  /** Where it lies, or will. */
  readonly path: string
  readonly bytes: number
  /** Whether it is here. */
  readonly present: boolean
  /** SHA-256 as the Hub tells it. */
  readonly sha256?: string
}

export interface ResolvedModel {
  /** As it can be typed again, with the file that was chosen. */
  readonly name: string
  readonly kind: 'gguf' | 'checkpoint'
  /** The GGUF file, of a split model the first part; or the folder of a checkpoint. */
  readonly path: string
  /** All files of it; none where the path is what the user named and does not exist. */
  readonly files: readonly ResolvedFile[]
  /** What it is called, for the names of outputs, e.g. `gemma-3-270m-it-F16.gguf`. */
  readonly title: string
  /** Of a model of the Hub. */
  readonly repository?: Repository
}

export interface ResolveOptions extends HubOptions {
  /** `any` by default. */
  readonly need?: Need
}

const resolveOptions: OptionNames<ResolveOptions> = {
  need: true,
  signal: true,
  onNote: true,
  pauses: true,
  silence: true,
}

export interface PullOptions extends ResolveOptions {
  /** Called with the model once it is known what to download. */
  readonly onModel?: (model: ResolvedModel) => void
  /** Called with the bytes of all files. */
  readonly onProgress?: (event: ProgressEvent) => void
  /** Pieces of a file that are fetched at once; 4 by default. */
  readonly connections?: number
}

/**
 * The model of a name. Only names of repositories ask the Hub, and nothing but its listing is fetched.
 * @throws FileError for several candidates, which are listed, or none; HubError; UsageError for a name that is none
 */
export async function resolveModel(name: string, options: ResolveOptions = {}): Promise<ResolvedModel> {
  checkOptionNames(options, resolveOptions)
  const hub = new HubClient(hubSettings(), options)
  try {
    return (await findModel(hub, name, options)).model
  } finally {
    await hub.close()
  }
}

/** The model of a name, with all its files here. @throws like `resolveModel`, and FileError for a disk that is full */
export async function pullModel(name: string, options: PullOptions = {}): Promise<ResolvedModel> {
  checkOptionNames(options, { ...resolveOptions, onModel: true, onProgress: true, connections: true })
  const hub = new HubClient(hubSettings(), options)
  try {
    const found = await findModel(hub, name, options)
    options.onModel?.(found.model)
    return await fetchModel(hub, found, options)
  } finally {
    await hub.close()
  }
}

/** @param remote files of the repository that the model consists of */
interface Resolved {
  readonly model: ResolvedModel
  readonly remote: readonly RepositoryFile[]
}

/** The model with all its files here, each under its name in the snapshot of the commit. */
export async function fetchModel(
  hub: HubClient,
  { model, remote }: Resolved,
  { connections, onProgress }: PullOptions = {},
): Promise<ResolvedModel> {
  const { repository } = model
  if (!repository || repository.cached) return model
  const cache = new HubCache(hub.settings.cache)
  const total = remote.reduce((sum, { size }) => sum + size, 0)
  const missing = model.files.some(({ present }) => !present)
  let before = 0
  for (const file of remote) {
    await download(hub, cache, repository, file, {
      ...(connections !== undefined && { connections }),
      ...(missing && { onProgress: (bytes) => onProgress?.({ stage: 'pull', done: before + bytes, total }) }),
    })
    before += file.size
  }
  await cache.setRef(repository)
  return { ...model, files: model.files.map((file) => ({ ...file, present: true })) }
}

/** @param hub for names of repositories */
export async function findModel(
  hub: HubClient,
  name: string,
  { need = 'any' }: ResolveOptions,
): Promise<Resolved> {
  const parsed = parseName(name, hub.settings.endpoint)
  if (parsed.kind === 'hub') return ofHub(hub, parsed, need)
  return { model: await ofDisk(name, parsed, need), remote: [] }
}

async function ofHub(hub: HubClient, { id, revision, pick }: HubName, need: Need): Promise<Resolved> {
  const cache = new HubCache(hub.settings.cache)
  const repository = await openRepository(hub, cache, id, revision)
  const paths = repository.files.map(({ path }) => path)
  const chosen = choose(nameOf(repository), paths, need, pick)
  const wanted = new Set(chosen === 'checkpoint' ? checkpointFiles(paths) : chosen.files)
  const remote = repository.files.filter(({ path }) => wanted.has(path))
  const local = (file: string): string => cache.path(id, repository.commit, file)
  const files = remote.map((file): ResolvedFile => {
    const sha256 = sha256Of(file)
    const present = repository.cached || cache.has(repository, file)
    return { path: local(file.path), bytes: file.size, present, ...(sha256 !== undefined && { sha256 }) }
  })
  const title = id.slice(id.indexOf('/') + 1)
  const model: ResolvedModel =
    chosen === 'checkpoint'
      ? {
          name: nameOf(repository),
          kind: 'checkpoint',
          path: dirname(local('config.json')),
          files,
          title,
          repository,
        }
      : {
          name: nameOf(repository, chosen.files[0]),
          kind: 'gguf',
          path: local(chosen.files[0]),
          files,
          title: chosen.files[0].slice(chosen.files[0].lastIndexOf('/') + 1),
          repository,
        }
  return { model, remote }
}

async function ofDisk(name: string, parsed: PathName | StoreName, need: Need): Promise<ResolvedModel> {
  if (parsed.kind !== 'path') return ofStore(name, parsed, need)
  const { path, pick } = parsed
  if (statIfThere(path)?.isDirectory()) return inFolder(path, path, need, pick)
  // A word that is no file, as Ollama names models.
  if (!existsSync(path) && !/[/\\]|\.gguf$/i.test(path)) {
    const file = await ollamaModel(path)
    if (file !== undefined) return oneFile(name, file, path)
  }
  return oneFile(name, path, path.slice(Math.max(path.lastIndexOf('/'), path.lastIndexOf(sep)) + 1))
}

async function ofStore(
  name: string,
  { kind, name: model, pick }: StoreName,
  need: Need,
): Promise<ResolvedModel> {
  if (kind === 'lm-studio') {
    const folder = lmStudioModel(model)
    if (folder !== undefined) return inFolder(name, folder, need, pick)
    throw new FileError(name, `LM Studio has no such model in ${lmStudioFolder()}${listed(lmStudioNames())}`)
  }
  const file = await ollamaModel(model)
  if (file !== undefined) return oneFile(name, file, model)
  throw new FileError(name, `Ollama has no such model in ${ollamaFolder()}${listed(ollamaNames())}`)
}

const listed = (names: readonly string[]): string =>
  names.length === 0
    ? ''
    : `; it has ${names.slice(0, 20).join(', ')}${names.length > 20 ? ' and others' : ''}`

function oneFile(name: string, path: string, title: string): ResolvedModel {
  const found = statIfThere(path)
  const files = found?.isFile() ? [{ path, bytes: found.size, present: true }] : []
  return { name, kind: 'gguf', path, files, title: title.replace(/[/:]/g, '-') }
}

function inFolder(name: string, folder: string, need: Need, pick?: string): ResolvedModel {
  const root = snapshotOf(folder)
  const paths = filesBelow(root)
  const chosen = choose(folder, paths, need, pick)
  const wanted = chosen === 'checkpoint' ? checkpointFiles(paths) : chosen.files
  const files = wanted.map((file) => {
    const path = join(root, file)
    return { path, bytes: statIfThere(path)?.size ?? 0, present: true }
  })
  const [first] = files
  return chosen === 'checkpoint'
    ? { name, kind: 'checkpoint', path: root, files, title: titleOf(folder) }
    : { name, kind: 'gguf', path: first.path, files, title: titleOf(first.path) }
}

const titleOf = (path: string): string => path.replace(/[/\\]+$/, '').replace(/^.*[/\\]/s, '') || 'model'

/** Of a folder `models--org--name` of the Hub's cache the snapshot of its main branch, or its only one. */
function snapshotOf(folder: string): string {
  const snapshots = join(folder, 'snapshots')
  if (!/^models--/.test(titleOf(folder)) || !existsSync(snapshots)) return folder
  const [, ...parts] = titleOf(folder).split('--')
  const main = new HubCache(dirname(folder)).repository(parts.join('/'), 'main')
  const all = entriesOf(snapshots).map((entry) => entry.name)
  return main ? join(snapshots, main.commit) : all.length === 1 ? join(snapshots, all[0]) : folder
}

/** Files of a folder and of its folders, with slashes. What may not be looked into has none. */
function filesBelow(folder: string): string[] {
  const orElse = <T>(look: () => T, other: T): T => {
    try {
      return look()
    } catch {
      return other
    }
  }
  return entriesOf(folder)
    .flatMap((entry) =>
      entry.isDirectory() ? orElse(() => entriesOf(join(folder, entry.name)), []) : [entry],
    )
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => orElse(() => statIfThere(path)?.isFile(), false))
    .map((path) => relative(folder, path).replaceAll(sep, '/'))
}
