/** Candidates whose headers are read: files at hand, and those of a repository. */
import { basename } from 'node:path'
import type { Store } from '../compare/store.js'
import { FileError } from '../errors.js'
import type { Failure } from '../failures.js'
import { type Gguf, openGguf } from '../gguf/index.js'
import { summarize } from '../gguf/summary.js'
import { detectLattices } from '../lattice/index.js'
import type { Candidate } from './candidates.js'
import { familyOfFile, modelName } from './catalogue/names.js'
import type { Catalogue } from './catalogue/types.js'
import { sizedByHeader } from './footprint.js'
import { detectQat, type QatFacts } from './qat.js'

type Hash = (path: string, bytes: number) => Promise<string | undefined>

/**
 * The candidates at hand. Files that cannot be read are added to `failures`.
 * @param hash hashes a file only if a measurement of a file of its size is known, since reading takes long
 */
export async function fileCandidates(
  paths: readonly string[],
  catalogue: Catalogue,
  hash: Hash,
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

/** @throws FileError */
export async function fileCandidate(path: string, catalogue: Catalogue, hash?: Hash): Promise<Candidate> {
  const gguf = await openGguf(path)
  try {
    const repository = repositoryOf(path)
    const found = await headerCandidate(gguf, catalogue, {
      ...{ id: path, source: 'file', path, name: basename(path) },
      ...(repository !== undefined && { repository }),
      latticeOf,
    })
    const sha256 = await hash?.(path, found.bytes)
    return sha256 === undefined ? found : { ...found, sha256 }
  } finally {
    await gguf.close()
  }
}

interface Place extends Pick<Candidate, 'id' | 'source' | 'path' | 'repository' | 'file' | 'tag'> {
  /** Name of the file. */
  readonly name: string
  /** Sizes of its parts, where they are not on this disk. */
  readonly sizes?: readonly number[]
  /** Looks at the weights of a file in full precision, where they are here. */
  readonly latticeOf?: (path: string) => Promise<NonNullable<QatFacts['lattice']>>
}

/** What a header tells. @throws FileError for one of no language model */
export async function headerCandidate(
  gguf: Gguf,
  catalogue: Catalogue,
  { name: fileName, sizes, latticeOf: look, ...place }: Place,
): Promise<Candidate> {
  const { metadata, path, tensors } = gguf
  const text = (key: string): string | undefined => {
    const found = metadata.get(key)
    return found?.type === 'string' ? found.value.slice(0, 500) : undefined
  }
  const { parameters, bitsPerWeight, bytes, ...summary } = await summarize(gguf, sizes)
  if (parameters === 0) throw new FileError(path, 'it has no weights; name a model instead')
  const type = summary.type.replace(/ \(says .*$/, '')
  const architecture = text('general.architecture')
  if (architecture === undefined)
    throw new FileError(path, 'its header names no architecture, so nothing can be said of its memory')
  const { repository } = place
  const name = text('general.name') ?? text('general.basename')
  const names = [...(name === undefined ? [] : [name]), fileName]
  const family = familyOfFile(catalogue, [...names, ...(repository ? [repository] : [])], architecture)
  const trainedHere = metadata.get('quench.method') !== undefined
  const hasImatrix =
    metadata.get('quantize.imatrix.file') !== undefined || /imatrix|[-.]i1[-.]/i.test(fileName)
  const context = metadata.get(`${architecture}.context_length`)?.value
  const float = catalogue.types.some((each) => each.type === type && each.fullPrecision)
  const lattice = float ? await look?.(path) : undefined
  const licence = text('general.license') ?? family?.licence
  return {
    ...place,
    // Parameters tell a pruned or merged model from the one whose name it has.
    group: `${family?.id ?? `${modelName(names[0])} ${architecture}`} ${parameters}`,
    ...{ type, bytes, bitsPerWeight },
    ...(hasImatrix && { imatrix: true }),
    model: { name: names[0], architecture, parameters },
    ...(family && { family }),
    qat: detectQat(catalogue, {
      ...{ names, type, trainedHere },
      ...(repository !== undefined && { repository }),
      ...(lattice && { lattice }),
    }),
    trainedHere,
    sized: sizedByHeader({ path, metadata, tensors }),
    ...(licence !== undefined && { licence }),
    ...(typeof context === 'number' && { trainedContext: context }),
    toMake: false,
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

/** Hashes files of sizes that were measured; SHA-256 of gigabytes is not worth waiting for otherwise. */
export const hashOfMeasured =
  (store: Store | undefined, sizes: ReadonlySet<number>) =>
  async (path: string, bytes: number): Promise<string | undefined> =>
    store && sizes.has(bytes) ? store.hashOf(path) : undefined
