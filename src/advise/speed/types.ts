/** How fast a model runs, and how sure that is. */

/** Where the weights lie, as for `estimateMemory`, and what is in the cache. */
export interface Placement {
  readonly gpuLayers?: number
  readonly tensorSplit?: readonly number[]
  readonly cpuExpertLayers?: number
  /** Tokens in the cache while a token is generated. Default 0. */
  readonly depth?: number
  readonly cacheTypes?: { readonly keys: string; readonly values: string }
}

/** A draft model: what is known of its guesses where they were measured. */
export interface Draft {
  readonly bytes: number
  /** Share of guessed tokens that the model accepts. Default 0.6. */
  readonly accepted?: number
  /** Tokens that are guessed at once. Default 4. */
  readonly guesses?: number
}

/** Tokens per second: a middle value and a range. */
export interface SpeedRange {
  readonly low: number
  readonly expected: number
  readonly high: number
}

/** Other files that were measured on this machine, its probe, what the maker says, or nothing. */
export type SpeedBasis = 'bench' | 'probe' | 'data sheet' | 'guess'

export interface SpeedEstimate {
  readonly prompt: SpeedRange
  readonly generate: SpeedRange
  /** With the draft, if there is one. */
  readonly drafted?: SpeedRange
  /** What the figures rest on. */
  readonly basis: SpeedBasis
  /** Sentences about types without a fast path on a device. */
  readonly notes: readonly string[]
}

/** A file that ran on this machine: how much slower (above 1) or faster it was than estimated. */
export interface Comparison {
  /** Bytes of weights that a token reads. */
  readonly bytes: number
  /** Measured / estimated seconds. */
  readonly ratio: number
}

export interface Calibration {
  readonly generate: readonly Comparison[]
  readonly prompt: readonly Comparison[]
}
