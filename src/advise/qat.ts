/**
 * Whether a file holds a model that was trained for its quantization, by what is said of it and, where somebody has looked, by
 * its weights. Names are claims: only metadata that quench wrote, and a name that the lattice of the weights bears out, count as certain.
 */
import type { Catalogue, QatRelease } from './catalogue/types.js'

export interface QatFacts {
  /** File name, repository, `general.name` and other names from metadata. */
  readonly names: readonly string[]
  /** Recipe of the file, e.g. `Q4_0`. */
  readonly type: string
  /** Whether quench trained it (`quench.method`). */
  readonly trainedHere?: boolean
  readonly repository?: string
  /** What the weights lie on: the smallest type that holds their grid, or that they lie on none. Absent if nobody looked. */
  readonly lattice?: { readonly type?: string; readonly share: number }
}

export interface QatVerdict {
  readonly qat: boolean
  readonly confidence: 'certain' | 'likely' | 'guess'
  /** The number format that it was trained for, where known. */
  readonly trainedFor?: string
  /** Whether the file has the type it was trained for; undefined if that is not known. */
  readonly suits?: boolean
  /** What the verdict rests on. */
  readonly because: string
}

/** Whether a name claims training for quantization, as `gemma-3-4b-it-qat-q4_0` does. */
export const saysQat = (name: string): boolean => /(?:^|[^a-z])(qat|qad)(?:[^a-z]|$)/i.test(name)

/** `Q4_0` in `model-qat-q4_0-unquantized`: the type behind the word, which is not always that of the file. */
export function typeBehind(name: string, types: readonly string[]): string | undefined {
  const [, rest = ''] = /(?:^|[^a-z])qa[td][-_.]?(.*)$/i.exec(name) ?? []
  return types
    .filter((type) => new RegExp(`^${type}(?![a-z0-9_])`, 'i').test(rest))
    .sort((a, b) => b.length - a.length)[0]
}

export function detectQat(catalogue: Pick<Catalogue, 'families' | 'types'>, facts: QatFacts): QatVerdict {
  const { names, type, trainedHere, repository, lattice } = facts
  if (trainedHere)
    return {
      qat: true,
      confidence: 'certain',
      trainedFor: type,
      suits: true,
      because: 'quench trained it (quench.method)',
    }
  if (lattice && lattice.share >= 0.5) {
    const named = [repository ?? '', ...names].some(saysQat)
    return named
      ? verdict('certain', lattice.type, type, 'its weights lie on a grid, and its name says so too')
      : verdict(
          'likely',
          lattice.type,
          type,
          'its weights lie on a grid, as those of a trained checkpoint do, or of a file that was quantized before',
        )
  }
  const release = releaseOf(catalogue, repository)
  if (release) return verdict('likely', release.type, type, `${repository} is a QAT release of the catalogue`)
  const known = catalogue.types.map((each) => each.type)
  const said = [...(repository === undefined ? [] : [repository]), ...names].find(saysQat)
  if (said !== undefined) {
    const trainedFor =
      typeBehind(said, known) ?? (known.includes(type) && isFourBit(catalogue, type) ? type : undefined)
    return verdict(
      repository !== undefined && saysQat(repository) ? 'likely' : 'guess',
      trainedFor,
      type,
      `"${said.replace(/^.*\//, '')}" says so; nothing but the name`,
    )
  }
  return lattice
    ? { qat: false, confidence: 'certain', because: 'its weights lie on no grid' }
    : { qat: false, confidence: 'likely', because: 'neither its metadata nor its names say so' }
}

function verdict(
  confidence: QatVerdict['confidence'],
  trainedFor: string | undefined,
  type: string,
  because: string,
): QatVerdict {
  const known = trainedFor !== undefined && { trainedFor, suits: trainedFor === type }
  return { qat: true, confidence, ...known, because }
}

/** A file of four bits that only says `qat` is taken to have the type it was trained for. */
function isFourBit({ types }: Pick<Catalogue, 'types'>, type: string): boolean {
  const bits = types.find((each) => each.type === type)?.bitsPerWeight ?? 0
  return bits > 4 && bits < 4.7
}

function releaseOf(
  { families }: Pick<Catalogue, 'families'>,
  repository: string | undefined,
): QatRelease | undefined {
  if (repository === undefined) return undefined
  const wanted = repository.toLowerCase()
  return families
    .flatMap(({ qat = [] }) => qat)
    .find((release) => release.repository.toLowerCase() === wanted)
}

/** A sentence for a QAT file in another type than it was trained for; undefined if there is nothing to say. */
export function wasteOf(
  { qat, trainedFor, suits }: QatVerdict,
  type: string,
  bits: ReadonlyMap<string, number>,
): string | undefined {
  if (!qat || suits !== false || trainedFor === undefined) return undefined
  const [own, trained] = [bits.get(type), bits.get(trainedFor)]
  if (own === undefined || trained === undefined) return undefined
  // Made: trained, or quantized and made into floats again.
  return own > trained
    ? `It was made for ${trainedFor}, and its weights lie on that grid: ${type} stores the same model in ${Math.round(100 * (own / trained - 1))} % more space.`
    : `It was made for ${trainedFor}; ${type} rounds it once more, to a grid that it was not made for.`
}
