/** Adds up the scores of one file: sums per window, and the divergence of every token for the quantiles. */
import { type Estimate, estimate, exponential, quantile } from './statistics.js'

/** Sums over the scored tokens of each window, in text order, for comparisons of two files window by window. */
export interface WindowSums {
  /** Negative log-likelihood, nats. */
  readonly nll: readonly number[]
  /** KL divergence from the reference, nats. */
  readonly kld: readonly number[]
  /** Tokens of which the most probable one is the reference's. */
  readonly top1: readonly number[]
}

/** KL divergence from the reference, nats per token. */
export interface KldSummary extends Estimate {
  readonly min: number
  readonly median: number
  readonly p90: number
  readonly p95: number
  readonly p99: number
  readonly max: number
}

export class Tally {
  private readonly nll: number[]
  private readonly kld: number[]
  private readonly top1: number[]
  private readonly tokens: Float32Array

  /** @param scored tokens per window */
  constructor(
    windows: number,
    private readonly scored: number,
  ) {
    this.nll = new Array<number>(windows).fill(0)
    this.kld = new Array<number>(windows).fill(0)
    this.top1 = new Array<number>(windows).fill(0)
    this.tokens = new Float32Array(windows * scored)
  }

  /** Adds the token at scored position `i` of a window. */
  add(window: number, i: number, nll: number, kld: number, top1: boolean): void {
    this.nll[window] += nll
    this.kld[window] += kld
    if (top1) this.top1[window]++
    this.tokens[window * this.scored + i] = kld
  }

  perplexity(): Estimate {
    return exponential(this.mean(this.nll))
  }

  kldSummary(): KldSummary {
    const sorted = this.tokens.slice().sort()
    return {
      ...this.mean(this.kld),
      min: sorted[0],
      median: quantile(sorted, 0.5),
      p90: quantile(sorted, 0.9),
      p95: quantile(sorted, 0.95),
      p99: quantile(sorted, 0.99),
      max: sorted[sorted.length - 1],
    }
  }

  top1Share(): Estimate {
    return this.mean(this.top1)
  }

  get windowSums(): WindowSums {
    return { nll: this.nll, kld: this.kld, top1: this.top1 }
  }

  private mean(sums: readonly number[]): Estimate {
    return estimate(sums.map((sum) => sum / this.scored))
  }
}
