/** What the expected loss of a file is told from, and what is told. */
import type { Catalogue, Family } from '../catalogue/types.js'
import type { MeasurementRecord } from '../measurements/record.js'
import type { QatVerdict } from '../qat.js'
import type { Curve } from './curve.js'

/** Work that a model is for; it chooses which kinds of text count. */
export type Purpose = 'chat' | 'agent' | 'code' | 'long-context'

export interface LossFile {
  readonly id: string
  readonly sha256?: string
  /** Recipe, e.g. `Q4_K_M`. */
  readonly type: string
  readonly bitsPerWeight: number
  readonly imatrix?: boolean
  readonly model: { readonly name: string; readonly architecture?: string; readonly parameters: number }
  readonly family?: Family
  readonly qat: QatVerdict
  readonly trainedHere: boolean
}

export interface LossEstimate {
  readonly kind: 'reference' | 'measured file' | 'measured recipe' | 'published' | 'fitted'
  /** Mean KL divergence from the full-precision model, nats per token. */
  readonly expected: number
  /** Holds 80 %. */
  readonly interval: readonly [low: number, high: number]
  /** What it rests on, in a sentence. */
  readonly basis: string
  /** Share of tokens with the same most probable token, where measured. */
  readonly top1?: number
}

export interface Evidence {
  readonly catalogue: Catalogue
  readonly curve: Curve
  readonly own: readonly MeasurementRecord[]
  readonly imported: readonly MeasurementRecord[]
  readonly purpose?: Purpose
}
