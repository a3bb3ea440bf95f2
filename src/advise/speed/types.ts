/** How fast a model runs, and how sure that is. */

/** Where the weights lie, as for `estimateMemory`, and what is in the cache. */
export interface Placement {
  readonly gpuLayers?: number
  readonly tensorSplit?: readonly number[]
  readonly cpuExpertLayers?: number
  /** Tokens in the cache while a token is generated. Default 0. */
  readonly depth?: number
  readonly cacheTypes?: { readonly keys: string; readonly values: string }
  /** A draft model: what is known of its guesses where they were measured. */
  readonly draft?: {
    readonly bytes: number
    /** Share of guessed tokens that the model accepts. Default 0.6. */
    readonly accepted?: number
    /** Tokens that are guessed at once. Default 4. */
    readonly guesses?: number
  }
}

/** Tokens per second: a middle value and a range. */
export interface SpeedRange {
  readonly low: number
  readonly expected: number
  readonly high: number
}

export interface SpeedEstimate {
  readonly prompt: SpeedRange
  readonly generate: SpeedRange
  /** With the draft, if there is one. */
  readonly drafted?: SpeedRange
  /** What the figures rest on. */
  readonly basis: 'bench of files on this machine' | 'probe' | 'data sheet' | 'guess'
  /** Sentences about types without a fast path on a device. */
  readonly notes: readonly string[]
}

/** How much slower (above 1) or faster files ran on this machine than was estimated: measured / estimated seconds. */
export interface Calibration {
  readonly generate: readonly number[]
  readonly prompt: readonly number[]
}
