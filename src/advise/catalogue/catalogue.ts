/**
 * The catalogue: families, GPUs and published losses, with their sources. It ships in the folder `catalogue`; what
 * lies under `catalogue` in the cache folder takes the place of the families of the same id.
 */
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Schema, Validator } from '@cfworker/json-schema'
import { cacheFolder } from '../../cache-folder.js'
import { FileError } from '../../errors.js'
import { readInput } from '../../input-file.js'
import { familiesSchema, gpusSchema, lossesSchema } from './schema.js'
import type { Catalogue, CpuMemory, Family, Gpu } from './types.js'

const mostBytes = 16e6

/** The files that ship. */
const shippedFile = (name: string): string =>
  fileURLToPath(new URL(`../../../catalogue/${name}.json`, import.meta.url))

/** Families of the user, in the form of those that ship. */
export const updatedFamiliesFile = (): string => join(cacheFolder(), 'catalogue', 'families.json')

let loaded: Promise<Catalogue> | undefined

/** @throws FileError for a file that does not follow its schema */
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
    readFamilies(updatedFamiliesFile()).catch((error: unknown) => {
      if (isMissing(error)) return undefined
      throw error
    }),
  ])
  const { types, training, cacheLosses, abilities } = losses
  const byId = new Map([...families, ...(updated?.families ?? [])].map((family) => [family.id, family]))
  const dates = [made, losses.made, updated?.made ?? made].sort()
  return {
    made: dates[dates.length - 1],
    families: [...byId.values()],
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

/** @throws FileError for a file that is no JSON or does not follow the schema */
async function readChecked<T>(path: string, schema: Schema): Promise<T> {
  const text = (await readInput(path, mostBytes)).toString('utf8')
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new FileError(
      path,
      'this is no JSON; delete it if it lies in the cache, else install quench anew',
      { cause: error },
    )
  }
  const problem = schemaProblem(value, schema)
  if (problem !== undefined)
    throw new FileError(path, `${problem}; delete it if it lies in the cache, else install quench anew`)
  return value as T
}

/** The first place where a value does not follow a schema, in words; undefined if it does. */
export function schemaProblem(value: unknown, schema: Schema): string | undefined {
  const { valid, errors } = new Validator(schema, '2020-12').validate(value)
  if (valid) return undefined
  const last = errors.at(-1)
  return `${last?.instanceLocation ?? '#'} does not follow the schema: ${last?.error ?? 'it is invalid'}`
}
