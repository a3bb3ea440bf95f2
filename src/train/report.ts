/** The report of a finished run. */
import type { Method } from '../config/methods.js'
import type { StageReport } from '../config/options.js'
import type { Plan } from '../config/plan.js'
import type { ExportCheck } from '../student/export.js'
import type { Outcome } from './result.js'

export interface TrainReport extends Outcome {
  readonly path: string
  readonly type: string
  readonly bytes: number
  readonly bitsPerWeight: number
  /** Whether the file holds trained weights, or the reference quantizer's (see `opponent`) because training did not help. */
  readonly written: 'qat' | 'ptq'
  readonly method: Method
  /** Number of weights that train, and of all; embedding and output matrices may be left to the reference quantizer. */
  readonly weights: { readonly trained: number; readonly all: number; readonly untrained: readonly string[] }
  readonly plan: Plan
  /** Seconds and validation divergence of each stage, nats per token. */
  readonly stages: readonly StageReport[]
  readonly steps: number
  /** Peak resident size of the process so far, bytes. */
  readonly peakBytes: number
  /** Tokens seen in training, counting repetitions, and distinct ones. */
  readonly tokens: number
  readonly distinctTokens: number
  /** Tokens of the text by source, and its share of distinct 4-grams. */
  readonly textTokens: {
    readonly files: number
    readonly general: number
    readonly selfWritten: number
    readonly distinct4: number
  }
  readonly seconds: number
  readonly tokensPerSecond: number
  /** Mean KL divergence on the validation text, nats per token, by step; step 0 is stock PTQ. */
  readonly validation: readonly { step: number; mean: number; se: number }[]
  readonly check: ExportCheck
}
