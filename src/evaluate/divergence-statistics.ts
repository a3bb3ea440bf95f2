/** Statistics of one file against one base: sums per window, per document and per confidence of the base. */

import { Distribution } from './distribution.js'
import { Score } from './divergence.js'
import { BaseScore } from './score-bases.js'
import { type Estimate, exponential, ratio, root, sum } from './statistics.js'

/** Sums over the scored tokens of each window, in text order, for paired comparisons of two files. */
export interface WindowSums {
  /** Scored tokens. */
  readonly tokens: readonly number[]
  /** Negative log-likelihood, nats. */
  readonly nll: readonly number[]
  /** KL divergence from the reference, nats. */
  readonly kld: readonly number[]
  /** Tokens on which the file's and the reference's most probable token agree. */
  readonly top1: readonly number[]
}

/** KL divergence from the reference, nats per token; quantiles over tokens. */
export interface KldSummary extends Estimate {
  readonly min: number
  readonly p1: number
  readonly p5: number
  readonly p10: number
  readonly median: number
  readonly p90: number
  readonly p95: number
  readonly p99: number
  readonly p999: number
  readonly max: number
  /** Standard error and 95 % interval of the quantiles, by a bootstrap over windows. */
  readonly quantileErrors: Readonly<
    Record<QuantileName, { readonly se: number; readonly interval: readonly [number, number] }>
  >
  /** With a saved reference: bound of the error of `mean` that its truncation causes. */
  readonly errorBound?: number
}

/** How far a file is from a base. Standard errors are over windows. */
export interface Divergence {
  readonly kld: KldSummary
  /** KL divergence of the base from the file, nats per token. */
  readonly reversedKld: Estimate
  /** Ratio of the perplexity to the base's, on the same tokens. */
  readonly perplexityRatio: Estimate
  /** Root mean square change of the target token's probability. */
  readonly rmsProbabilityChange: Estimate
  /** Share of tokens on which the most probable token is the base's. */
  readonly top1: Estimate
  /** Mean share of the top-k tokens (k = `count`) that are among the base's. */
  readonly topOverlap: Estimate & { readonly count: number }
  /** Divergence by the probability of the base's most probable token. */
  readonly byConfidence: readonly ConfidenceBin[]
  /** Divergence by document, in order. */
  readonly byDocument: readonly DocumentLoss[]
}

export interface ConfidenceBin {
  /** Range of the probability of the base's most probable token: from, up to. */
  readonly from: number
  readonly to: number
  readonly tokens: number
  /** Mean, nats per token; 0 without tokens, like `top1`. */
  readonly kld: number
  /** Share of the whole divergence. */
  readonly shareOfKld: number
  readonly top1: number
}

export interface DocumentLoss {
  readonly name: string
  readonly tokens: number
  readonly perplexity: number
  readonly kld: number
  readonly top1: number
}

const quantileShares = {
  p1: 0.01,
  p5: 0.05,
  p10: 0.1,
  median: 0.5,
  p90: 0.9,
  p95: 0.95,
  p99: 0.99,
  p999: 0.999,
} as const
type QuantileName = keyof typeof quantileShares
const bootstrapSeed = 1

const confidenceEdges = [0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1]

/** Sums of a group of tokens. */
interface Sums {
  tokens: number
  nll: number
  kld: number
  top1: number
}
const noSums = (): Sums => ({ tokens: 0, nll: 0, kld: 0, top1: 0 })

/** Statistics of a file's target tokens that need no base. */
export class Likelihood {
  readonly tokens: number[]
  readonly nll: number[]
  private readonly bytes: number[]

  constructor(windows: number) {
    this.tokens = new Array<number>(windows).fill(0)
    this.nll = new Array<number>(windows).fill(0)
    this.bytes = new Array<number>(windows).fill(0)
  }

  /** @param bytes length of the token's text */
  add(window: number, nll: number, bytes: number): void {
    this.tokens[window]++
    this.nll[window] += nll
    this.bytes[window] += bytes
  }

  perplexity(): Estimate {
    return exponential(ratio(this.nll, this.tokens))
  }

  /** Bits per byte of text. */
  bitsPerByte(): Estimate {
    return ratio(
      this.nll.map((nll) => nll / Math.LN2),
      this.bytes,
    )
  }
}

export class DivergenceStatistics {
  private readonly sums: Readonly<Record<'kld' | 'reversed' | 'square' | 'top1' | 'overlap', number[]>>
  private readonly distribution: Distribution
  private readonly bins = confidenceEdges.slice(1).map(noSums)
  private readonly byDocument: Sums[]
  private slack = 0
  private variance = 0

  /** @param own of the file, @param base of the base; the caller fills both */
  constructor(
    private readonly own: Likelihood,
    private readonly base: Likelihood,
    private readonly documents: readonly string[],
    private readonly topCount: number,
  ) {
    const zeros = (): number[] => new Array<number>(own.tokens.length).fill(0)
    this.sums = { kld: zeros(), reversed: zeros(), square: zeros(), top1: zeros(), overlap: zeros() }
    this.distribution = new Distribution(own.tokens.length)
    this.byDocument = documents.map(noSums)
  }

  /** Adds a token: its row of scores at `at`, and the base's own row at `baseAt`. */
  add(
    window: number,
    document: number,
    scores: Float64Array,
    at: number,
    base: Float64Array,
    baseAt: number,
  ) {
    const { sums } = this
    const kld = scores[at + Score.kld]
    const top1 = scores[at + Score.top1]
    sums.kld[window] += kld
    sums.reversed[window] += scores[at + Score.reversedKld]
    sums.square[window] += (scores[at + Score.probability] - base[baseAt + BaseScore.probability]) ** 2
    sums.top1[window] += top1
    sums.overlap[window] += scores[at + Score.topOverlap]
    this.slack += scores[at + Score.slack]
    this.variance += scores[at + Score.variance]
    this.distribution.add(window, kld)
    const confidence = base[baseAt + BaseScore.topProbability]
    let bin = 0
    while (bin < this.bins.length - 1 && confidence >= confidenceEdges[bin + 1]) bin++
    for (const group of [this.bins[bin], this.byDocument[document]]) {
      group.tokens++
      group.nll += scores[at + Score.nll]
      group.kld += kld
      group.top1 += top1
    }
  }

  divergence(): Divergence {
    const { own, base, sums, topCount } = this
    const { tokens } = own
    const difference = own.nll.map((nll, w) => nll - base.nll[w])
    return {
      kld: this.kldSummary(),
      reversedKld: ratio(sums.reversed, tokens),
      perplexityRatio: exponential(ratio(difference, tokens)),
      rmsProbabilityChange: root(ratio(sums.square, tokens)),
      top1: ratio(sums.top1, tokens),
      topOverlap: { count: topCount, ...ratio(sums.overlap, tokens) },
      byConfidence: this.confidenceBins(),
      byDocument: this.byDocument.flatMap((group, d) =>
        group.tokens === 0 ? [] : [{ name: this.documents[d], ...meansOf(group) }],
      ),
    }
  }

  windowSums(): WindowSums {
    const { tokens, nll } = this.own
    return { tokens, nll, kld: this.sums.kld, top1: this.sums.top1 }
  }

  private kldSummary(): KldSummary {
    const names = Object.keys(quantileShares) as QuantileName[]
    const shares = names.map((name) => quantileShares[name])
    const values = this.distribution.quantiles(shares)
    const errors = this.distribution.errors(shares, bootstrapSeed)
    const { min, max } = this.distribution.range()
    const named = <T>(of: readonly T[]) => Object.fromEntries(names.map((name, i) => [name, of[i]]))
    const count = sum(this.own.tokens)
    return {
      ...ratio(this.sums.kld, this.own.tokens),
      min,
      ...(named(values) as Record<QuantileName, number>),
      max,
      quantileErrors: named(errors) as KldSummary['quantileErrors'],
      ...(this.slack > 0 && { errorBound: this.slack / count + (4 * Math.sqrt(this.variance)) / count }),
    }
  }

  private confidenceBins(): ConfidenceBin[] {
    const total = sum(this.sums.kld)
    return this.bins.map((group, i) => ({
      from: confidenceEdges[i],
      to: confidenceEdges[i + 1],
      tokens: group.tokens,
      kld: group.tokens === 0 ? 0 : group.kld / group.tokens,
      shareOfKld: total === 0 ? 0 : group.kld / total,
      top1: group.tokens === 0 ? 0 : group.top1 / group.tokens,
    }))
  }
}

function meansOf({ tokens, nll, kld, top1 }: Sums) {
  return { tokens, perplexity: Math.exp(nll / tokens), kld: kld / tokens, top1: top1 / tokens }
}
