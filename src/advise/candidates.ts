/** Files to choose from, and those that people find of the catalogue's families. */
import type { Catalogue, Family } from './catalogue/types.js'
import { familyParameters } from './family.js'
import { type RunOptions, type Sized, sizedByFamily } from './footprint.js'
import type { LossFile } from './quality/types.js'

export interface Candidate extends LossFile {
  readonly source: 'file' | 'repository' | 'catalogue'
  /** Files of one model are compared with each other: the family, or name and size. */
  readonly group: string
  readonly path?: string
  readonly repository?: string
  /** Its name within the repository, where that is known. */
  readonly file?: string
  /** What llama.cpp, Ollama and LM Studio call it behind the repository's name; default: its type. */
  readonly tag?: string
  readonly sized: Sized
  readonly bytes: number
  /** Licence as the catalogue or the file states it. */
  readonly licence?: string
  /** Context that the model was trained for. */
  readonly trainedContext?: number
  /** Whether a file of it can be made alone: no repository is known to have it. */
  readonly toMake: boolean
}

/** How a file runs: with no more context than it was trained for. */
export const runOf = ({ trainedContext = Infinity }: Candidate, run: RunOptions): RunOptions => ({
  ...run,
  context: trainedContext >= 1 ? Math.min(run.context, Math.floor(trainedContext)) : run.context,
})

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
