/** Files to choose from: those at hand, by their headers, and those of the catalogue's families. */
import { basename } from 'node:path'
import type { Store } from '../compare/store.js'
import { FileError } from '../errors.js'
import type { Failure } from '../failures.js'
import { openGguf } from '../gguf/index.js'
import { summarize } from '../gguf/summary.js'
import { detectLattices } from '../lattice/index.js'
import { familyOfFile, modelName } from './catalogue/names.js'
import type { Catalogue, Family } from './catalogue/types.js'
import { familyParameters } from './family.js'
import { type Sized, sizedByFamily, sizedByHeader } from './footprint.js'
import { detectQat, type QatFacts } from './qat.js'
import type { LossFile } from './quality/types.js'

export interface Candidate extends LossFile {
  readonly source: 'file' | 'repository' | 'catalogue'
  /** Files of one model are compared with each other: the family, or name and size. */
  readonly group: string
  readonly path?: string
  readonly repository?: string
  readonly sized: Sized
  readonly bytes: number
  /** Licence as the catalogue or the file states it. */
  readonly licence?: string
  /** Context that the model was trained for. */
  readonly trainedContext?: number
  /** Whether a file of it can be made alone: no repository is known to have it. */
  readonly toMake: boolean
}

/**
 * The candidates at hand. Files that cannot be read are added to `failures`.
 * @param hashes hashes a file only if a measurement of a file of its size is known, since reading takes long
 */
export async function fileCandidates(
  paths: readonly string[],
  catalogue: Catalogue,
  hash: (path: string, bytes: number) => Promise<string | undefined>,
): Promise<{ candidates: Candidate[]; failures: Failure[] }> {
  const candidates: Candidate[] = []
  const failures: Failure[] = []
  for (const path of paths) {
    try {
      candidates.push(await fileCandidate(path, catalogue, hash))
    } catch (error) {
      if (!(error instanceof FileError)) throw error
      failures.push({ path, problem: error.message })
    }
  }
  return { candidates, failures }
}

async function fileCandidate(
  path: string,
  catalogue: Catalogue,
  hash: (path: string, bytes: number) => Promise<string | undefined>,
): Promise<Candidate> {
  const gguf = await openGguf(path)
  try {
    const { metadata } = gguf
    const text = (key: string): string | undefined => {
      const found = metadata.get(key)
      return found?.type === 'string' ? found.value.slice(0, 500) : undefined
    }
    const summary = await summarize(gguf)
    const { parameters, bitsPerWeight, bytes } = summary
    if (parameters === 0) throw new FileError(path, 'it has no weights; name a model instead')
    const type = summary.type.replace(/ \(says .*$/, '')
    const architecture = text('general.architecture')
    if (architecture === undefined)
      throw new FileError(path, 'its header names no architecture, so nothing can be said of its memory')
    const repository = repositoryOf(path)
    const name = text('general.name') ?? text('general.basename')
    const names = [...(name === undefined ? [] : [name]), basename(path)]
    const family = familyOfFile(catalogue, [...names, ...(repository ? [repository] : [])], architecture)
    const trainedHere = metadata.get('quench.method') !== undefined
    const hasImatrix = metadata.get('quantize.imatrix.file') !== undefined
    const context = metadata.get(`${architecture}.context_length`)?.value
    const float = catalogue.types.some((each) => each.type === type && each.fullPrecision)
    const lattice = float ? await latticeOf(path) : undefined
    const sha256 = await hash(path, bytes)
    const licence = text('general.license') ?? family?.licence
    return {
      id: path,
      source: 'file',
      // Parameters tell a pruned or merged model from the one whose name it has.
      group: `${family?.id ?? `${modelName(names[0])} ${architecture}`} ${parameters}`,
      path,
      ...(repository !== undefined && { repository }),
      ...(sha256 !== undefined && { sha256 }),
      type,
      bytes,
      bitsPerWeight,
      ...(hasImatrix && { imatrix: true }),
      model: { name: names[0], architecture, parameters },
      ...(family && { family }),
      qat: detectQat(catalogue, {
        ...{ names, type, trainedHere },
        ...(repository !== undefined && { repository }),
        ...(lattice && { lattice }),
      }),
      trainedHere,
      sized: sizedByHeader({ path, metadata, tensors: gguf.tensors }),
      ...(licence !== undefined && { licence }),
      ...(typeof context === 'number' && { trainedContext: context }),
      toMake: false,
    }
  } finally {
    await gguf.close()
  }
}

/** What most of the weights of a file in full precision lie on. @throws FileError for a damaged file */
async function latticeOf(path: string): Promise<NonNullable<QatFacts['lattice']>> {
  const { grids, weights } = await detectLattices(path)
  const [grid] = grids
  if (!grid) return { share: 0 }
  return { share: grid.weights / weights, ...(grid.type !== undefined && { type: grid.type }) }
}

/** `org/name` of a file in the cache of Hugging Face's tools, or in LM Studio's folder. */
function repositoryOf(path: string): string | undefined {
  const [, hub] = /[\\/]models--([^\\/]+)[\\/]/.exec(path) ?? []
  if (hub !== undefined) return hub.replace('--', '/')
  const [, publisher, model] = /[\\/]models[\\/]([^\\/]+)[\\/]([^\\/]+)[\\/][^\\/]+\.gguf$/i.exec(path) ?? []
  return publisher === undefined ? undefined : `${publisher}/${model}`
}

/** What people find of a family: the usual types, and its QAT releases. */
export function familyCandidates(family: Family, catalogue: Catalogue): Candidate[] {
  const parameters = familyParameters(family)
  const [repository] = family.ggufRepositories ?? []
  const common = {
    source: 'catalogue' as const,
    group: family.id,
    family,
    model: { name: family.name, architecture: family.architecture, parameters },
    trainedHere: false,
    licence: family.licence,
    ...(family.context !== undefined && { trainedContext: family.context }),
  }
  const plain = catalogue.types
    .filter(({ usual }) => usual)
    .map((size): Candidate => {
      const bytes = Math.round((parameters * size.bitsPerWeight) / 8)
      const made = size.fp4 === true || repository === undefined
      return {
        ...common,
        id: `${family.id} ${size.type}`,
        type: size.type,
        bytes,
        bitsPerWeight: size.bitsPerWeight,
        ...(repository !== undefined && !made && { repository }),
        qat: { qat: false, confidence: 'likely', because: 'a file of the original model' },
        sized: sizedByFamily(family, { type: size.type, bytes }),
        toMake: made,
      }
    })
  return [...plain, ...qatCandidates(family, catalogue, common, parameters)]
}

function qatCandidates(
  family: Family,
  { types }: Catalogue,
  common: Pick<
    Candidate,
    'source' | 'group' | 'family' | 'model' | 'trainedHere' | 'licence' | 'trainedContext'
  >,
  parameters: number,
): Candidate[] {
  const seen = new Set<string>()
  return (family.qat ?? []).flatMap(({ repository, type, form, file, fileBytes, sources }) => {
    const size = types.find((each) => each.type === type)
    if (!size || type === undefined || form !== 'gguf' || file !== undefined || seen.has(type)) return []
    seen.add(type)
    const bytes = fileBytes ?? Math.round((parameters * size.bitsPerWeight) / 8)
    return [
      {
        ...common,
        id: `${family.id} ${type} QAT`,
        repository,
        type,
        bytes,
        bitsPerWeight: (8 * bytes) / parameters,
        qat: {
          qat: true,
          confidence: 'likely' as const,
          trainedFor: type,
          suits: true,
          because: `a QAT release: ${sources[0]}`,
        },
        sized: sizedByFamily(family, { type, bytes }),
        toMake: false,
      },
    ]
  })
}

/** Hashes files of sizes that were measured; SHA-256 of gigabytes is not worth waiting for otherwise. */
export const hashOfMeasured =
  (store: Store | undefined, sizes: ReadonlySet<number>) =>
  async (path: string, bytes: number): Promise<string | undefined> =>
    store && sizes.has(bytes) ? store.hashOf(path) : undefined
