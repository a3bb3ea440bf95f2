/**
 * The catalogue: families, GPUs and published losses, with their sources. It ships in the folder `catalogue`; what
 * `quench catalogue update` has written into the cache folder takes the place of the families of the same id.
 */
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Schema, Validator } from '@cfworker/json-schema'
import { cacheFolder, checkOwner, refreshedFamilies } from '../../cache-folder.js'
import { FileError } from '../../errors.js'
import { readInput } from '../../input-file.js'
import { familiesSchema, gpusSchema, lossesSchema } from './schema.js'
import type { Catalogue, CpuMemory, Family, Gpu } from './types.js'

const mostBytes = 16e6

/** The files that ship. */
const shippedFile = (name: string): string =>
  fileURLToPath(new URL(`../../../catalogue/${name}.json`, import.meta.url))

/** Families as they were refreshed, in the form of those that ship. */
export const updatedFamiliesFile = (): string => join(cacheFolder(), refreshedFamilies)

let loaded: Promise<Catalogue> | undefined

/** @throws FileError for a file that ships and does not follow its schema; one that was refreshed is then left out, and `problem` says why */
export function loadCatalogue(): Promise<Catalogue> {
  loaded ??= load()
  return loaded
}

/** Reads the files again, e.g. after an update. */
export function reloadCatalogue(): Promise<Catalogue> {
  loaded = undefined
  return loadCatalogue()
}

async function load(): Promise<Catalogue> {
  const [{ families, made }, gpus, losses, updated] = await Promise.all([
    readFamilies(shippedFile('families')),
    readChecked<{ gpus: Gpu[]; cpuMemory: CpuMemory[] }>(shippedFile('gpus'), gpusSchema),
    readChecked<Omit<Catalogue, 'families' | 'gpus' | 'cpuMemory'>>(shippedFile('losses'), lossesSchema),
    readUpdated().catch((error: unknown) => {
      if (error instanceof FileError) return error
      throw error
    }),
  ])
  const { types, training, cacheLosses, abilities } = losses
  const problem = updated instanceof FileError ? updated.message : undefined
  const all = updated && !(updated instanceof FileError) ? updated : undefined
  const shipped = new Map(families.map((family) => [family.id, family]))
  // An update that is older than what ships was made for an older release.
  const young = (all?.families ?? []).filter(({ id, read }) => read >= (shipped.get(id)?.read ?? ''))
  const byId = new Map([...families, ...young].map((family) => [family.id, family]))
  const dates = [made, losses.made, ...(all ? [all.made] : [])].sort()
  return {
    made: dates[dates.length - 1],
    families: [...byId.values()],
    ...(all && young.length > 0 && { updated: { made: all.made, families: young.map(({ id }) => id) } }),
    ...(problem !== undefined && { problem }),
    gpus: gpus.gpus,
    cpuMemory: gpus.cpuMemory,
    losses: losses.losses,
    ...{ types, training, cacheLosses, abilities },
  }
}

const isMissing = (error: unknown): boolean =>
  error instanceof FileError &&
  error.cause instanceof Error &&
  (error.cause as NodeJS.ErrnoException).code === 'ENOENT'

const readFamilies = (path: string): Promise<{ made: string; families: Family[] }> =>
  readChecked(path, familiesSchema)

/** The families that ship. */
export const shippedFamilies = async (): Promise<Family[]> =>
  (await readFamilies(shippedFile('families'))).families

/** What `quench catalogue update` has written; undefined if that is nothing. @throws FileError for a file that cannot be used */
export async function readUpdated(): Promise<{ made: string; families: Family[] } | undefined> {
  const path = updatedFamiliesFile()
  try {
    checkOwner(path)
    return await readFamilies(path)
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
}

/** @throws FileError for a file that is no JSON or does not follow the schema */
async function readChecked<T>(path: string, schema: Schema): Promise<T> {
  const text = (await readInput(path, mostBytes)).toString('utf8')
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new FileError(
      path,
      'this is no JSON; delete it and run `quench catalogue update`, or install quench anew',
      { cause: error },
    )
  }
  const problem = schemaProblem(value, schema)
  if (problem !== undefined)
    throw new FileError(
      path,
      `${problem}; delete it and run \`quench catalogue update\`, or install quench anew`,
    )
  return value as T
}

/** The first place where a value does not follow a schema, in words; undefined if it does. */
export function schemaProblem(value: unknown, schema: Schema): string | undefined {
  const { valid, errors } = new Validator(schema, '2020-12').validate(value)
  if (valid) return undefined
  const last = errors.at(-1)
  return `${last?.instanceLocation ?? '#'} does not follow the schema: ${last?.error ?? 'it is invalid'}`
}
