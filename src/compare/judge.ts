/**
 * Decides which files are on the Pareto front of size and loss, which pairs differ beyond chance, and how large a PTQ file
 * would have to be to equal a trained one.
 */
import { setImmediate } from 'node:timers/promises'
import { type EffectiveBits, effectiveBits } from '../evaluate/index.js'
import { allPairs, Bootstrap, type Interval } from './bootstrap.js'

/** The data of a file that the decision uses. */
export interface Candidate {
  readonly name: string
  readonly method: 'ptq' | 'qat'
  /** Recipe, e.g. `Q4_0`. */
  readonly type: string
  /** Whether an importance matrix was used. */
  readonly importance?: boolean
  readonly bytes: number
  readonly bitsPerWeight: number
  /** KL divergence from the reference, nats, summed over each window. */
  readonly kld: readonly number[]
}

export interface Judgement {
  /** 95 % interval of the mean KL divergence. */
  readonly kldInterval: Interval
  /** No other file is at most as large and at most as lossy, and better in one of the two. */
  readonly onFront: boolean
  /** Files that are no larger and have significantly less loss. */
  readonly beatenBy: readonly string[]
  /** Of a trained file: relative to the PTQ file of the same type, made without an importance matrix. */
  readonly recovered?: Recovered
  /** Of a trained file: relative to the PTQ file with the least loss among those that are no larger, of any type. */
  readonly recoveredOfBest?: Recovered & { readonly opponent: string }
  /** Of a trained file: bits per weight at which the best PTQ files have the same loss. */
  readonly effectiveBits?: EffectiveBits & { readonly interval: Interval }
  /** Of a trained file: relative saving in size against an equally good PTQ file. */
  readonly compressionWon?: { readonly value: number; readonly interval: Interval }
}

/** The share of a PTQ file's mean KL divergence that a trained file does not have. */
export interface Recovered {
  readonly value: number
  readonly interval: Interval
  readonly significant: boolean
}

export interface Pair {
  readonly a: string
  readonly b: string
  /** Mean KL divergence of a minus that of b. */
  readonly difference: number
  /** Corrected for the number of pairs (Holm). */
  readonly p: number
  /** `tie`: not significantly different at 5 %. */
  readonly better: 'a' | 'b' | 'tie'
}

export interface Judged {
  /** In the order of the candidates. */
  readonly judgements: readonly Judgement[]
  readonly pairs: readonly Pair[]
  readonly windows: number
  readonly tokens: number
}

export const significance = 0.05

/** @param windowTokens scored tokens of each window */
export async function judge(
  candidates: readonly Candidate[],
  windowTokens: readonly number[],
  seed = 1,
): Promise<Judged> {
  const tokens = windowTokens.reduce((a, b) => a + b, 0)
  const bootstrap = new Bootstrap(windowTokens, { seed })
  const means = candidates.map(({ kld }) => kld.reduce((a, b) => a + b, 0) / tokens)
  const tests = await allPairs(
    bootstrap,
    candidates.map(({ kld }) => kld),
  )
  const pairs = tests.map(({ a, b, adjusted }): Pair => {
    const difference = means[a] - means[b]
    const differs = adjusted < significance && difference !== 0
    return {
      a: candidates[a].name,
      b: candidates[b].name,
      difference,
      p: adjusted,
      better: !differs ? 'tie' : difference < 0 ? 'a' : 'b',
    }
  })
  const beats = new Set(
    pairs.flatMap(({ a, b, better }) => (better === 'tie' ? [] : [better === 'a' ? key(a, b) : key(b, a)])),
  )
  const front = paretoFront(candidates.map(({ bytes }, i) => ({ bytes, loss: means[i] })))
  const replicates: Float64Array[] = []
  for (const { kld } of candidates) {
    replicates.push(bootstrap.means(kld))
    await setImmediate()
  }
  const judgements: Judgement[] = []
  for (const [i, candidate] of candidates.entries()) {
    judgements.push({
      kldInterval: bootstrap.meanInterval(candidate.kld),
      onFront: front[i],
      beatenBy: candidates
        .filter(({ name, bytes }) => noLarger(bytes, candidate.bytes) && beats.has(key(name, candidate.name)))
        .map(({ name }) => name),
      ...(candidate.method === 'qat' && won(i, { candidates, means, replicates, bootstrap, beats })),
    })
    await setImmediate()
  }
  return { judgements, pairs, windows: windowTokens.length, tokens }
}

const key = (better: string, worse: string): string => JSON.stringify([better, worse])

/** Whether a file of `a` bytes is no larger than one of `b`; a difference of 0.1 % is ignored, since metadata differs. */
const noLarger = (a: number, b: number): boolean => a <= 1.001 * b

/** The file with the least loss among those that are no larger than `bytes`. */
export function bestOpponent<T extends { readonly bytes: number; readonly kld: number }>(
  bytes: number,
  files: readonly T[],
): T | undefined {
  const fitting = files.filter((file) => noLarger(file.bytes, bytes))
  return fitting.reduce<T | undefined>(
    (best, file) => (best && best.kld <= file.kld ? best : file),
    undefined,
  )
}

/** For each file, whether no other is at most as large and at most as lossy, and better in one of the two. */
export function paretoFront(files: readonly { bytes: number; loss: number }[]): boolean[] {
  const beats = (a: { bytes: number; loss: number }, b: { bytes: number; loss: number }): boolean =>
    noLarger(a.bytes, b.bytes) && a.loss <= b.loss && (!noLarger(b.bytes, a.bytes) || a.loss < b.loss)
  return files.map((file) => !files.some((other) => beats(other, file)))
}

interface Measured {
  readonly candidates: readonly Candidate[]
  readonly means: readonly number[]
  /** Means in each replicate, by candidate. */
  readonly replicates: readonly Float64Array[]
  readonly bootstrap: Bootstrap
  readonly beats: ReadonlySet<string>
}

/** The gain of training at candidate `i`. */
function won(i: number, { candidates, means, replicates, bootstrap, beats }: Measured) {
  const { bitsPerWeight, type, name } = candidates[i]
  const ladder = candidates.flatMap(({ method }, j) => (method === 'ptq' ? [j] : []))
  if (ladder.length === 0) return {}
  const rungs = (of: (j: number) => number) =>
    ladder.map((j) => ({ bitsPerWeight: candidates[j].bitsPerWeight, kld: of(j) }))
  const equal = effectiveBits(
    means[i],
    rungs((j) => means[j]),
  )
  const equals = replicates[i].map(
    (kld, r) =>
      effectiveBits(
        kld,
        rungs((j) => replicates[j][r]),
      ).value,
  )
  const saved = (bits: number): number => 1 - bitsPerWeight / bits
  const bits = bootstrap.interval(equal.value, equals)
  const recovered = (j: number): Recovered | undefined => {
    if (!(means[j] > 0)) return undefined
    const value = 1 - means[i] / means[j]
    const shares = replicates[i].map((kld, r) => 1 - kld / replicates[j][r])
    const other = candidates[j].name
    return {
      value,
      interval: bootstrap.interval(value, shares),
      significant: beats.has(key(name, other)) || beats.has(key(other, name)),
    }
  }
  const plain = ladder.find((j) => candidates[j].type === type && !candidates[j].importance)
  const ofPlain = plain === undefined ? undefined : recovered(plain)
  const best = bestOpponent(
    candidates[i].bytes,
    ladder.map((j) => ({ bytes: candidates[j].bytes, kld: means[j], j })),
  )?.j
  const ofBest = best === undefined ? undefined : recovered(best)
  return {
    effectiveBits: { ...equal, interval: bits },
    compressionWon: { value: saved(equal.value), interval: [saved(bits[0]), saved(bits[1])] as const },
    ...(ofPlain && { recovered: ofPlain }),
    ...(best !== undefined && ofBest && { recoveredOfBest: { ...ofBest, opponent: candidates[best].name } }),
  }
}
