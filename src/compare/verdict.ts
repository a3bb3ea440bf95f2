/**
 * The outcome in two or three sentences for a person who knows how much memory the machine has and nothing else. Only
 * what is beyond chance is said; where nothing is, that is said.
 */
import { humanBytes } from '../format.js'
import { type Judged, significance } from './judge.js'

export interface VerdictFile {
  readonly name: string
  readonly method: 'ptq' | 'qat'
  readonly type: string
  readonly bytes: number
  readonly kld: number
  /** Share of tokens whose most probable one is the reference's. */
  readonly top1: number
  /** Memory that it takes with a conversation of `contextTokens`; the size of the file where it was not measured. */
  readonly neededBytes: number
}

export interface VerdictOptions {
  /** Memory of the machine or of its graphics card. */
  readonly memoryBytes?: number
  /** Tokens of the conversation that `neededBytes` has room for. */
  readonly contextTokens?: number
}

/** Part of the memory that the system and the screen keep for themselves. */
const usable = 0.9

/** @param files in the order of `judged.judgements` */
export function verdict(
  files: readonly VerdictFile[],
  judged: Judged,
  options: VerdictOptions = {},
): string[] {
  const told = judged.pairs.filter(({ better }) => better !== 'tie')
  if (files.length > 1 && told.length === 0) return cannotTell(files, judged)
  const training = trainingSentence(files, judged)
  return [...(training ? [training] : []), choice(files, judged, options), doubt(judged)].filter(
    (sentence) => sentence !== '',
  )
}

function cannotTell(files: readonly VerdictFile[], { windows, tokens, pairs }: Judged): string[] {
  if (pairs.every(({ difference }) => difference === 0))
    return [
      `${files.map(({ name }) => name).join(' and ')} answer exactly alike: it is a tie, so take the smallest.`,
    ]
  return [
    `This text is too short to tell these files apart: on ${tokens} tokens (${windows} pieces of text) every difference can be chance.`,
    'Measure again with more text before you choose; until then a larger file is the safer choice.',
  ]
}

/** What training was good for; empty without trained files. */
function trainingSentence(files: readonly VerdictFile[], { judgements }: Judged): string {
  const gains: string[] = []
  const losses: string[] = []
  const unclear: string[] = []
  for (const [i, { name, method }] of files.entries()) {
    const { recovered, compressionWon, effectiveBits } = judgements[i]
    if (method !== 'qat' || !recovered || !compressionWon || !effectiveBits) continue
    if (!recovered.significant) unclear.push(name)
    else if (recovered.value < 0) losses.push(name)
    else {
      const larger = (share: number) => Math.round(100 * (1 / (1 - share) - 1))
      const [low, high] = compressionWon.interval
      const about =
        effectiveBits.bound === 'exact'
          ? `one that is ${larger(compressionWon.value)} % larger (${larger(low)} to ${larger(high)})`
          : 'any of the plain files here'
      gains.push(`${name} is as good as ${about}`)
    }
  }
  const sentences: string[] = []
  if (gains.length > 0) sentences.push(`Training pays: beside plainly quantized files, ${list(gains)}.`)
  if (losses.length > 0) sentences.push(`Training has done harm: ${list(losses)} lost by it.`)
  if (unclear.length > 0)
    sentences.push(`Whether training helped ${list(unclear)} cannot be told on this text.`)
  return sentences.join(' ')
}

/** Which file to take. */
function choice(
  files: readonly VerdictFile[],
  { judgements }: Judged,
  { memoryBytes, contextTokens }: VerdictOptions,
): string {
  const worthHaving = files.filter((_, i) => judgements[i].onFront && judgements[i].beatenBy.length === 0)
  const bySize = worthHaving.sort((a, b) => b.bytes - a.bytes)
  const room = contextTokens === undefined ? '' : ` with room for ${contextTokens} tokens of conversation`
  const alike = ({ top1 }: VerdictFile) =>
    `picks the same next word as the full model ${(100 * top1).toFixed(0)} times in 100`
  if (memoryBytes !== undefined) {
    const memory = humanBytes(memoryBytes)
    const fits = bySize.filter(({ neededBytes }) => neededBytes <= usable * memoryBytes)
    const best = fits.reduce<VerdictFile | undefined>((a, b) => (a && a.kld <= b.kld ? a : b), undefined)
    if (!best)
      return `None of these files fits into ${memory} of memory; the smallest, ${bySize.at(-1)?.name}, takes ${humanBytes(bySize.at(-1)?.neededBytes ?? 0)}${room}.`
    return `With ${memory} of memory take ${best.name}: it takes ${humanBytes(best.neededBytes)}${room} and ${alike(best)}.`
  }
  if (bySize.length === 1)
    return `Take ${bySize[0].name}: no other file here is as small and as good; it ${alike(bySize[0])}.`
  const most = bySize.map(({ name, neededBytes }) => `${name} (${humanBytes(neededBytes)})`)
  return `Take the first of these that fits into your memory${room}: ${most.join(', ')}; the first ${alike(bySize[0])}, the last ${(100 * bySize[bySize.length - 1].top1).toFixed(0)} times.`
}

/** Neighbours that may be equal. */
function doubt({ pairs, tokens }: Judged): string {
  const ties = pairs.filter(({ better }) => better === 'tie')
  if (ties.length === 0) return ''
  const shown = ties.slice(0, 3).map(({ a, b }) => `${a} and ${b}`)
  const more = ties.length > 3 ? ` and ${ties.length - 3} more pairs` : ''
  return `Not told apart on ${tokens} tokens (a chance of 1 in ${1 / significance} of a false alarm): ${list(shown)}${more}.`
}

function list(parts: readonly string[]): string {
  return parts.length < 2 ? parts.join('') : `${parts.slice(0, -1).join(', ')} and ${parts[parts.length - 1]}`
}
