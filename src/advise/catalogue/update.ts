/**
 * Refreshing families from the Hub: shapes from the header of a GGUF file, sizes of QAT releases from listings, and repositories that
 * are gone. It begins with what ships, so nothing that a failing Hub left out is lost for good, and asks only for repositories that the
 * catalogue names.
 */
import { checkOwner, ownCacheFolder } from '../../cache-folder.js'
import { FileError } from '../../errors.js'
import type { Failure } from '../../failures.js'
import { atomicWrite } from '../../files.js'
import { HubCache } from '../../hub/cache.js'
import { HubClient, type HubOptions } from '../../hub/client.js'
import { HubError } from '../../hub/errors.js'
import { hubSettings } from '../../hub/settings.js'
import type { ProgressEvent } from '../../notices.js'
import {
  loadCatalogue,
  readUpdated,
  schemaProblem,
  shippedFamilies,
  updatedFamiliesFile,
} from './catalogue.js'
import { type FamilyChange, refreshed } from './refresh.js'
import { NewReleases } from './releases.js'
import { familiesSchema, familySchema } from './schema.js'
import type { Family } from './types.js'

export interface UpdateOptions extends Pick<HubOptions, 'signal' | 'onNote' | 'pauses'> {
  /** Ids of the families to refresh. Default: all. */
  readonly families?: readonly string[]
  /** Asks the Hub, and writes nothing. */
  readonly dryRun?: boolean
  readonly onProgress?: (event: ProgressEvent) => void
}

export interface CatalogueUpdate {
  /** Day, ISO 8601. */
  readonly made: string
  /** The file with the refreshed families; absent if nothing was written. */
  readonly path?: string
  /** Families of which the Hub told something. */
  readonly refreshed: number
  readonly changed: readonly { readonly id: string; readonly changes: readonly FamilyChange[] }[]
  /** Families that stay as they were, and why. */
  readonly failures: readonly Failure[]
}

const atOnce = 4

/** @throws HubError where the Hub does not answer at all: what was there stays as it is */
export async function updateCatalogue(options: UpdateOptions = {}): Promise<CatalogueUpdate> {
  const shipped = await shippedFamilies()
  const wanted = options.families ? shipped.filter(({ id }) => options.families?.includes(id)) : shipped
  const made = new Date().toISOString().slice(0, 10)
  const types = (await loadCatalogue()).types.map(({ type }) => type)
  const found = await refreshAll(wanted, made, options, (hub) => new NewReleases(hub, shipped, types, made))
  const families = found.flatMap(({ family }) => (family ? [family] : []))
  const result = {
    made,
    refreshed: families.length,
    changed: found.flatMap(({ id, changes }) => (changes.length > 0 ? [{ id, changes }] : [])),
    failures: found.flatMap(({ failure }) => (failure ? [failure] : [])),
  }
  if (options.dryRun || families.length === 0) return result
  const path = updatedFamiliesFile()
  const kept = (await readUpdated().catch(() => undefined))?.families ?? []
  const now = new Set(families.map(({ id }) => id))
  const all = { schema: 1, made, families: [...kept.filter(({ id }) => !now.has(id)), ...families] }
  const problem = schemaProblem(JSON.parse(JSON.stringify(all)), familiesSchema)
  if (problem !== undefined) throw new FileError(path, `${problem}; nothing was written`)
  ownCacheFolder()
  checkOwner(path)
  await atomicWrite(path, `${JSON.stringify(all, null, 1)}\n`)
  return { ...result, path }
}

interface Refreshed {
  readonly id: string
  readonly family?: Family
  readonly changes: readonly FamilyChange[]
  readonly failure?: Failure
}

async function refreshAll(
  wanted: readonly Family[],
  today: string,
  options: UpdateOptions,
  releasesFrom: (hub: HubClient) => NewReleases,
): Promise<Refreshed[]> {
  const hub = new HubClient(hubSettings(), options)
  const cache = new HubCache(hub.settings.cache)
  const newReleases = releasesFrom(hub)
  const found = new Array<Refreshed>(wanted.length)
  let next = 0
  let done = 0
  let ended = false
  const worker = async (): Promise<void> => {
    while (next < wanted.length && !ended) {
      const i = next++
      const { id } = wanted[i]
      try {
        const { family, changes } = await refreshed(hub, cache, wanted[i], newReleases, today)
        const problem = schemaProblem(JSON.parse(JSON.stringify(family)), familySchema)
        found[i] =
          problem === undefined
            ? { id, family, changes }
            : { id, changes: [], failure: failureOf(id, `what the Hub has of it: ${problem}`) }
      } catch (error) {
        // Where the Hub as a whole fails, the next family would fare no better.
        if (!isOfFamily(error)) {
          ended = true
          throw error
        }
        found[i] = { id, changes: [], failure: failureOf(id, error.message) }
      }
      options.onProgress?.({ stage: 'catalogue', done: ++done, total: wanted.length })
    }
  }
  try {
    await Promise.all(Array.from({ length: atOnce }, worker))
  } finally {
    await hub.close()
  }
  return found
}

const failureOf = (id: string, problem: string): Failure => ({
  path: id,
  problem: problem.startsWith(`${id}: `) ? problem : `${id}: ${problem}`,
})

const isOfFamily = (error: unknown): error is FileError | HubError =>
  error instanceof FileError ||
  (error instanceof HubError && error.status !== undefined && error.status < 500 && error.status !== 429)
