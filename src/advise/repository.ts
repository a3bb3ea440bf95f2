/** Files of a repository of the Hub to choose from, by their headers, which are read in ranges. No weights are downloaded. */
import { existsSync } from 'node:fs'
import { FileError, QuenchError } from '../errors.js'
import type { Failure } from '../failures.js'
import { openRemote } from '../gguf/inspect.js'
import { HubCache } from '../hub/cache.js'
import { HubClient, type HubOptions } from '../hub/client.js'
import { openRepository } from '../hub/listing.js'
import { RemoteFile } from '../hub/remote-file.js'
import { nameOf, type Repository } from '../hub/repository.js'
import { hubSettings } from '../hub/settings.js'
import { candidatesOf, type Candidate as Named } from '../names/choose.js'
import { type HubName, parseName } from '../names/parse.js'
import type { ProgressEvent } from '../notices.js'
import type { Candidate } from './candidates.js'
import type { Catalogue } from './catalogue/types.js'
import { fileCandidate, headerCandidate } from './files.js'

/** The repository that a name means; undefined for another name. */
export function repositoryNamed(name: string): HubName | undefined {
  const parsed = parseName(name, hubSettings().endpoint)
  return parsed.kind === 'hub' ? parsed : undefined
}

export interface RepositoryOptions extends Pick<HubOptions, 'signal' | 'onNote' | 'pauses'> {
  /** Called with the headers that are read, of all. */
  readonly onProgress?: (event: ProgressEvent) => void
}

export interface RepositoryFiles {
  readonly candidates: Candidate[]
  /** Files whose headers are damaged. */
  readonly failures: Failure[]
  readonly notes: string[]
}

/** Headers are up to 2 MB each. */
const mostFiles = 64
const atOnce = 4

/** @throws HubError, and QuenchError for a repository without such files */
export async function repositoryCandidates(
  { id, revision, pick }: HubName,
  catalogue: Catalogue,
  options: RepositoryOptions = {},
): Promise<RepositoryFiles> {
  const hub = new HubClient(hubSettings(), options)
  try {
    const repository = await openRepository(hub, new HubCache(hub.settings.cache), id, revision)
    const name = nameOf({ id, revision })
    const all = candidatesOf(repository.files.map(({ path }) => path))
    if (all.length === 0)
      throw new QuenchError(`${name} has no GGUF files; name a repository that has, or \`quench convert\` it`)
    const wanted = pick === undefined ? all : all.filter((found) => isPicked(found, pick))
    if (wanted.length === 0)
      throw new QuenchError(`${name} has no ${pick}; leave it out to see which files there are`)
    const found = wanted.slice(0, mostFiles)
    const read = new Array<Candidate | Failure>(found.length)
    let next = 0
    let done = 0
    const reader = async (): Promise<void> => {
      while (next < found.length) {
        const i = next++
        read[i] = await candidateOf(hub, repository, found[i], all, catalogue).catch(failureOf)
        options.onProgress?.({ stage: 'headers', done: ++done, total: found.length })
      }
    }
    await Promise.all(Array.from({ length: atOnce }, reader))
    const left = wanted.length - found.length
    return {
      candidates: read.filter((one) => 'group' in one),
      failures: read.filter((one) => 'problem' in one),
      notes:
        left > 0 ? [`${name} has ${left} more files, which were not looked at; name one after a colon.`] : [],
    }
  } finally {
    await hub.close()
  }
}

const isPicked = ({ files, type }: Named, pick: string): boolean =>
  [type, ...files].some((name) => name?.toLowerCase() === pick.toLowerCase())

function failureOf(error: unknown): Failure {
  if (error instanceof FileError) return { path: error.path, problem: error.message }
  throw error
}

/** @param all models of the repository; a type that two of them have tells neither */
async function candidateOf(
  hub: HubClient,
  repository: Repository,
  { files, type }: Named,
  all: readonly Named[],
  catalogue: Catalogue,
): Promise<Candidate> {
  const { id, revision, commit } = repository
  const cache = new HubCache(hub.settings.cache)
  const here = files.map((path) => cache.path(id, commit, path))
  if (here.every((path) => existsSync(path))) return fileCandidate(here[0], catalogue)
  const wanted = repository.files.filter(({ path }) => files.includes(path))
  const sources = wanted.map((file) => new RemoteFile(hub, repository, file))
  const told = all.filter((other) => other.type === type).length === 1
  const [file] = files
  return headerCandidate(await openRemote(sources), catalogue, {
    ...{ id: nameOf({ id, revision }, file), source: 'repository', repository: id, file, name: file },
    ...(told && type !== undefined && { tag: type }),
    sizes: sources.map(({ size }) => size),
  })
}
