/**
 * The outcome in two or three sentences for a user who only knows how much memory the machine has. Only significant
 * differences are reported; if there are none, the verdict says so.
 */
import { humanBytes } from '../format.js'
import { type Judged, significance } from './judge.js'

export interface VerdictFile {
  readonly name: string
  readonly method: 'ptq' | 'qat'
  readonly type: string
  readonly bytes: number
  readonly kld: number
  /** Share of tokens on which the most probable token is the reference's. */
  readonly top1: number
  /** Memory needed with a context of `contextTokens`; the file size if not measured. */
  readonly neededBytes: number
}

export interface VerdictOptions {
  /** Memory of the machine or of its graphics card. */
  readonly memoryBytes?: number
  /** Context, in tokens, that `neededBytes` includes. */
  readonly contextTokens?: number
}

/** Share of the memory that the operating system leaves free. */
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
    return [`${files.map(({ name }) => name).join(' and ')} give identical predictions; take the smallest.`]
  const least = leastWindows(pairs.length)
  if (windows < least)
    return [
      `This text is too short to rank ${files.length} files: among ${count(pairs.length)} pairs no difference can be significant on ${count(windows)} windows (${count(tokens)} tokens); it takes ${count(least)} windows (${count(Math.ceil((tokens / windows) * least))} tokens) at least.`,
      'Measure again with more text, or compare fewer files.',
    ]
  return [
    `This text is too short to rank these files: on ${count(tokens)} tokens (${windows} windows) no difference is significant.`,
    'Measure again with more text before you choose; until then a larger file is the safer choice.',
  ]
}

/**
 * The least number of windows on which one of so many pairs can differ significantly: the p value of a pair is 2^(1 - windows) at least
 * (bootstrap.ts), and Holm's correction multiplies the least one by the number of pairs.
 */
const leastWindows = (pairs: number): number => Math.ceil(1 + Math.log2(pairs / significance))

/** The gain of training; empty without trained files. */
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
          ? `a PTQ file that is ${larger(compressionWon.value)} % larger (${larger(low)} to ${larger(high)})`
          : undefined
      gains.push(about ? `${name} matches ${about}` : `${name} is at least as good as every PTQ file here`)
    }
  }
  const sentences: string[] = []
  if (gains.length > 0) sentences.push(`Training pays off: ${list(gains)}.`)
  if (losses.length > 0) sentences.push(`Training made ${list(losses)} worse.`)
  if (unclear.length > 0)
    sentences.push(`This text is too short to say whether training improved ${list(unclear)}.`)
  return sentences.join(' ')
}

/** The recommended file. */
function choice(
  files: readonly VerdictFile[],
  { judgements }: Judged,
  { memoryBytes, contextTokens }: VerdictOptions,
): string {
  const worthHaving = files.filter((_, i) => judgements[i].onFront && judgements[i].beatenBy.length === 0)
  const bySize = worthHaving.sort((a, b) => b.bytes - a.bytes)
  const room = contextTokens === undefined ? '' : ` with a context of ${count(contextTokens)} tokens`
  const alike = ({ top1 }: VerdictFile) =>
    `predicts the same top token as the full model for ${(100 * top1).toFixed(0)} % of tokens`
  if (memoryBytes !== undefined) {
    const memory = humanBytes(memoryBytes)
    const fits = bySize.filter(({ neededBytes }) => neededBytes <= usable * memoryBytes)
    const best = fits.reduce<VerdictFile | undefined>((a, b) => (a && a.kld <= b.kld ? a : b), undefined)
    const smallest = bySize.at(-1)
    if (!best)
      return `None of these files fits in ${memory} of memory; the smallest, ${smallest && described(smallest)}, needs ${humanBytes(smallest?.neededBytes ?? 0)}${room}.`
    return `With ${memory} of memory, take ${described(best)}: it needs ${humanBytes(best.neededBytes)}${room} and ${alike(best)}.`
  }
  if (bySize.length === 1)
    return `Take ${described(bySize[0])}: no other file here is as small and as accurate; it ${alike(bySize[0])}.`
  const most = bySize.map((file) => described(file, humanBytes(file.neededBytes)))
  return `Take the first of these that fits in your memory${room}: ${most.join(', ')}; the first ${alike(bySize[0])}, the last for ${(100 * bySize[bySize.length - 1].top1).toFixed(0)} %.`
}

/** Neighbours that are not significantly different. */
function doubt({ pairs, tokens }: Judged): string {
  const ties = pairs.filter(({ better }) => better === 'tie')
  if (ties.length === 0) return ''
  const shown = ties.slice(0, 3).map(({ a, b }) => `${a} and ${b}`)
  const more = ties.length > 3 ? ` and ${ties.length - 3} more pairs` : ''
  return `Not significantly different at the ${100 * significance} % level on ${count(tokens)} tokens: ${list(shown)}${more}.`
}

/** A file's name with its type, unless the name tells it, and what else is known. */
function described({ name, type }: VerdictFile, more?: string): string {
  const told = new RegExp(`(?<![a-z0-9])${type.replace(/\W/g, '\\$&')}(?![a-z0-9_])`, 'i').test(name)
  const facts = [...(told ? [] : [type]), ...(more === undefined ? [] : [more])]
  return facts.length === 0 ? name : `${name} (${facts.join(', ')})`
}

const count = (n: number): string => n.toLocaleString('en-US')

function list(parts: readonly string[]): string {
  return parts.length < 2 ? parts.join('') : `${parts.slice(0, -1).join(', ')} and ${parts[parts.length - 1]}`
}
