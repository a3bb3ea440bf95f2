/** Which file of several is meant: by its name, its type, or what a command needs. Parts of a split model count as one. */
import { FileError } from '../errors.js'
import { fileTypeNames } from '../gguf/file-types.js'

/** What a command can use: `full-precision` is F32, F16 or BF16, or a checkpoint; `checkpoint` is that alone. */
export type Need = 'full-precision' | 'any' | 'checkpoint'

/** A model among the files of a repository or a folder. */
export interface Candidate {
  /** Paths of its file or of all its parts, the first one first. */
  readonly files: readonly string[]
  /** File type by its name, e.g. Q4_K_M; undefined if the name tells none. */
  readonly type: string | undefined
}

const fullPrecision = ['BF16', 'F16', 'F32']
/** As llama.cpp chooses. */
const usual = 'Q4_K_M'
const mostShown = 30

/** @param paths of all files, with slashes */
export function candidatesOf(paths: readonly string[]): Candidate[] {
  const models = new Map<string, string[]>()
  for (const path of [...paths].sort()) {
    if (!isModel(path)) continue
    const [, stem, of] = /^(.*)-\d{5}-of-(\d{5})\.gguf$/is.exec(path) ?? []
    const key = stem === undefined ? path : `${stem}-of-${of}`
    models.set(key, [...(models.get(key) ?? []), path])
  }
  return [...models.values()].map((files) => ({ files, type: typeByName(files[0]) }))
}

/** Image projectors, importance matrices and adapters are GGUF files too. */
function isModel(path: string): boolean {
  const name = path.slice(path.lastIndexOf('/') + 1)
  return /\.gguf$/i.test(name) && !/(^|[-._])(mmproj|imatrix)([-._]|$)/i.test(name)
}

/** The type that a name tells, of the file or else of its folder: `model-Q4_K_M.gguf`, `Q8_0/model-00001-of-00002.gguf`. */
export function typeByName(path: string): string | undefined {
  const parts = path.replace(/(-\d{5}-of-\d{5})?\.gguf$/i, '').split('/')
  for (const part of parts.reverse()) {
    const words = part.toUpperCase().replace(/\bFP(?=16|32)/g, 'F')
    const found = fileTypeNames
      .filter((type) => new RegExp(`(^|[^A-Z0-9])${type}($|[^A-Z0-9_])`).test(words))
      .sort((a, b) => b.length - a.length)
    if (found.length > 0) return found[0]
  }
  return undefined
}

/** Whether there is a checkpoint: weights as safetensors, and their configuration. */
const hasCheckpoint = (paths: readonly string[]): boolean =>
  paths.includes('config.json') && paths.some((path) => /^[^/]+\.safetensors$/.test(path))

/**
 * The model that is meant, or the checkpoint.
 * @param where name of the repository or the folder, for messages
 * @param pick file or type that the user named
 * @throws FileError that lists the candidates
 */
export function choose(
  where: string,
  paths: readonly string[],
  need: Need,
  pick?: string,
): Candidate | 'checkpoint' {
  const candidates = candidatesOf(paths)
  const checkpoint = hasCheckpoint(paths)
  if (need === 'checkpoint') {
    if (pick !== undefined)
      throw new FileError(where, `its checkpoint is converted as a whole; leave out ${pick} after the name`)
    if (checkpoint) return 'checkpoint'
    throw new FileError(where, 'it has no checkpoint: config.json and safetensors')
  }
  if (pick !== undefined) return picked(where, paths, candidates, pick)
  if (need === 'full-precision') {
    for (const type of fullPrecision) {
      const same = candidates.filter((candidate) => candidate.type === type)
      if (same.length > 1) throw ambiguous(where, same)
      if (same.length === 1) return complete(where, same[0])
    }
    if (checkpoint) return 'checkpoint'
    const [only] = candidates
    if (candidates.length === 1 && only.type === undefined) return complete(where, only)
    if (candidates.length > 0)
      throw new FileError(
        where,
        `it has no full-precision file (F32, F16 or BF16), which this command needs; it has ${shown(candidates)}; name one after a colon if it is to be taken nevertheless`,
      )
  } else {
    if (candidates.length === 1) return complete(where, candidates[0])
    const same = candidates.filter(({ type }) => type === usual)
    if (same.length === 1) return complete(where, same[0])
    if (candidates.length > 1) throw ambiguous(where, same.length > 1 ? same : candidates)
    if (checkpoint) return 'checkpoint'
  }
  throw new FileError(where, nothing(paths))
}

function picked(
  where: string,
  paths: readonly string[],
  candidates: readonly Candidate[],
  pick: string,
): Candidate {
  const lower = pick.toLowerCase()
  const byFile = candidates.filter(({ files }) => files.includes(pick))
  const byName = candidates.filter(({ files }) =>
    files.some((file) => file.toLowerCase() === lower || file.toLowerCase().endsWith(`/${lower}`)),
  )
  const byType = candidates.filter(({ type }) => type?.toLowerCase() === lower)
  const [found] = [byFile, byName, byType].filter((some) => some.length > 0)
  if (found?.length === 1) return complete(where, found[0])
  if (found) throw ambiguous(where, found)
  if (paths.includes(pick) && /\.gguf$/i.test(pick))
    throw new FileError(
      where,
      `${pick} is not a language model by its name; name one of ${shown(candidates)}`,
    )
  if (candidates.length === 0 && hasCheckpoint(paths))
    throw new FileError(where, `it has no ${pick} but a checkpoint, which needs no name after the colon`)
  throw new FileError(
    where,
    candidates.length === 0 ? nothing(paths) : `it has no ${pick}; it has ${shown(candidates)}`,
  )
}

/** @throws FileError for a split model with a part missing */
function complete(where: string, candidate: Candidate): Candidate {
  const { files } = candidate
  const [, count] = /-of-(\d{5})\.gguf$/i.exec(files[0]) ?? []
  if (count === undefined || files.length === Number(count)) return candidate
  throw new FileError(where, `${files[0]} is one of ${Number(count)} parts, and ${files.length} are there`)
}

const ambiguous = (where: string, candidates: readonly Candidate[]): FileError =>
  new FileError(
    where,
    `it has several models; name one after a colon, by its file or its type: ${shown(candidates)}`,
  )

function shown(candidates: readonly Candidate[]): string {
  const once = (type: string | undefined): boolean =>
    type !== undefined && candidates.filter((other) => other.type === type).length === 1
  const names = candidates.map(({ files, type }) => (once(type) ? (type as string) : files[0]))
  const more = names.length - mostShown
  return `${names.slice(0, mostShown).join(', ')}${more > 0 ? ` and ${more} more` : ''}`
}

function nothing(paths: readonly string[]): string {
  if (paths.some((path) => /\.(bin|pt|pth|ckpt)$/i.test(path)))
    return 'it has no GGUF file and no safetensors; pickles (.bin, .pt), which can run code, are never opened'
  return 'it has no GGUF file and no checkpoint of safetensors'
}
