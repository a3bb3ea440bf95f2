/** One family as the Hub has it now. What comes is a stranger's: another architecture or another number of weights is another model. */
import { FileError } from '../../errors.js'
import type { Gguf } from '../../gguf/index.js'
import { openRemote } from '../../gguf/inspect.js'
import type { HubCache } from '../../hub/cache.js'
import type { HubClient } from '../../hub/client.js'
import { HubError } from '../../hub/errors.js'
import { openRepository } from '../../hub/listing.js'
import { RemoteFile } from '../../hub/remote-file.js'
import { nameOf, type Repository } from '../../hub/repository.js'
import { type Candidate, candidatesOf } from '../../names/choose.js'
import type { NewReleases } from './releases.js'
import type { Family, QatRelease } from './types.js'

/** A repository that is gone has no `now`. */
export interface FamilyChange {
  readonly field: string
  readonly before?: string | number
  readonly now?: string | number
}

/** Weights of a file, beside those of the catalogue; towers and layers that predict ahead are in some files and not in others. */
const mostOff = 0.2

/** @throws HubError, and FileError for a file that is damaged or another model's */
export async function refreshed(
  hub: HubClient,
  cache: HubCache,
  family: Family,
  newReleases: NewReleases,
  today: string,
): Promise<{ family: Family; changes: FamilyChange[] }> {
  const changes: FamilyChange[] = []
  const { repositories, header, source } = await ggufOf(hub, cache, family.ggufRepositories ?? [], changes)
  const known = await Promise.all((family.qat ?? []).map((release) => qatOf(hub, cache, release, changes)))
  const found = await newReleases.of(family)
  for (const { repository } of found) changes.push({ field: 'qat', now: repository })
  const added = await Promise.all(found.map((release) => qatOf(hub, cache, release, changes)))
  const qat = [...known, ...added]
  // A mirror that has nothing of a family says nothing of it.
  if (repositories.length === 0 && !qat.some((release) => release && isAsked(release)))
    throw new FileError(family.id, 'the Hub has none of the repositories with its GGUF files')
  const shape = header ? shapeChanges(family, header) : {}
  for (const [field, now] of Object.entries(shape)) {
    const before = family[field as keyof Family] as number | undefined
    changes.push({ field, now, ...(before !== undefined && { before }) })
  }
  const kept = family.sources.filter((text) => !text.startsWith('hf:'))
  return {
    changes,
    family: {
      ...family,
      ...shape,
      ...(family.ggufRepositories && { ggufRepositories: repositories }),
      ...((family.qat || added.length > 0) && { qat: qat.filter((release) => release !== undefined) }),
      sources: [...kept, ...(source === undefined ? [] : [source])],
      read: today,
    },
  }
}

interface Found {
  /** Those that are still there. */
  readonly repositories: string[]
  readonly header?: Gguf
  readonly source?: string
}

/** The repositories that are there, and the header of the smallest file of the first one. */
async function ggufOf(
  hub: HubClient,
  cache: HubCache,
  ids: readonly string[],
  changes: FamilyChange[],
): Promise<Found> {
  const there = await Promise.all(ids.map((id) => listed(hub, cache, id, 'ggufRepositories', changes)))
  const found = there.filter((repository) => repository !== undefined)
  const repositories = found.map(({ id }) => id)
  for (const repository of found) {
    const smallest = smallestOf(repository)
    if (!smallest) continue
    const parts = repository.files.filter(({ path }) => smallest.files.includes(path))
    const header = await openRemote(parts.map((file) => new RemoteFile(hub, repository, file)))
    const { id, commit } = repository
    return { repositories, header, source: nameOf({ id, revision: commit.slice(0, 12) }, smallest.files[0]) }
  }
  return { repositories }
}

/** Undefined for a repository that is gone; one that is only closed to this user stays. @throws HubError for a Hub that fails */
async function listed(
  hub: HubClient,
  cache: HubCache,
  id: string,
  field: string,
  changes: FamilyChange[],
): Promise<Repository | undefined> {
  try {
    return await openRepository(hub, cache, id, 'main')
  } catch (error) {
    if (!(error instanceof HubError) || (error.status !== 401 && error.status !== 404)) throw error
    changes.push({ field, before: id })
    return undefined
  }
}

const bytesOf = ({ files }: Repository, candidate: Candidate): number =>
  files.reduce((sum, { path, size }) => sum + (candidate.files.includes(path) ? size : 0), 0)

const smallestOf = (repository: Repository): Candidate | undefined =>
  candidatesOf(repository.files.map(({ path }) => path)).sort(
    (a, b) => bytesOf(repository, a) - bytesOf(repository, b),
  )[0]

/** A release of one file that advice may pick; the type of one that was found by its name may be that of its only file. */
const isAsked = ({ form, file }: QatRelease): boolean => form === 'gguf' && file === undefined

/** A release with the size that its file has now; undefined if it is gone. */
async function qatOf(
  hub: HubClient,
  cache: HubCache,
  release: QatRelease,
  changes: FamilyChange[],
): Promise<QatRelease | undefined> {
  if (!isAsked(release)) return release
  const repository = await listed(hub, cache, release.repository, 'qat', changes)
  if (!repository) return undefined
  const all = candidatesOf(repository.files.map(({ path }) => path))
  const own = all.filter(({ type }) => type === release.type)
  const [file] = own.length > 0 ? own : all.length === 1 ? all : []
  const fileBytes = file && bytesOf(repository, file)
  const type = release.type ?? file?.type
  if (!fileBytes || type === undefined || fileBytes === release.fileBytes) return release
  changes.push({
    ...{ field: `qat ${release.repository}`, now: fileBytes },
    ...(release.fileBytes !== undefined && { before: release.fileBytes }),
  })
  return { ...release, type, fileBytes }
}

/** Numbers of a family by the names of GGUF metadata behind the architecture. */
const keys = {
  blocks: 'block_count',
  embedding: 'embedding_length',
  heads: 'attention.head_count',
  kvHeads: 'attention.head_count_kv',
  feedForward: 'feed_forward_length',
  experts: 'expert_count',
  expertsUsed: 'expert_used_count',
  expertFeedForward: 'expert_feed_forward_length',
  slidingWindow: 'attention.sliding_window',
  context: 'context_length',
} as const

/** What the header says otherwise than the family. @throws FileError for another model's */
function shapeChanges(family: Family, { metadata, tensors, path }: Gguf): Record<string, number> {
  const said = metadata.get('general.architecture')?.value
  if (said !== family.architecture)
    throw new FileError(path, `it is a model of ${String(said).slice(0, 50)}, not of ${family.architecture}`)
  const weights = tensors.reduce((sum, { elements }) => sum + elements, 0)
  const known = family.parametersText ?? family.parameters
  if (Math.abs(weights / known - 1) > mostOff)
    throw new FileError(
      path,
      `it has ${weights} weights, where the catalogue has ${known}: it is another model`,
    )
  const number = (key: string): number | undefined => {
    const value = metadata.get(`${family.architecture}.${key}`)?.value
    return typeof value === 'number' && value > 0 ? value : undefined
  }
  const ahead = number('nextn_predict_layers') ?? 0
  const vocabulary = tensors.find(({ name }) => name === 'token_embd.weight')?.shape[1]
  const local = number('attention.key_length_swa')
  const whole = number('attention.key_length')
  const told: Partial<Record<keyof Family, number | undefined>> = {
    ...Object.fromEntries(Object.entries(keys).map(([field, key]) => [field, number(key)])),
    blocks: (number(keys.blocks) ?? 0) - ahead || undefined,
    vocabulary,
    headSize: local ?? whole,
    headSizeGlobal: local === undefined ? undefined : whole,
    // Other files of the model may have layers that predict ahead, which are no part of its size.
    parametersText: ahead > 0 || weights === known ? undefined : weights,
  }
  // A field that the family has not is one that it does not need, but for the weights of the language model.
  return Object.fromEntries(
    Object.entries(told).filter(
      (entry): entry is [string, number] =>
        entry[1] !== undefined &&
        entry[1] !== family[entry[0] as keyof Family] &&
        (entry[0] === 'parametersText' || family[entry[0] as keyof Family] !== undefined),
    ),
  )
}
