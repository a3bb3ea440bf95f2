/** Evaluation: how far quantized files are from their reference, and what training has won. */
export {
  type EvaluatedFile,
  type EvaluateOptions,
  type Evaluation,
  evaluateFiles,
  type FileEvaluation,
  type ModelOptions,
} from './evaluate.js'
export { type EffectiveBits, effectiveBits, recovered } from './gain.js'
export type { Estimate } from './statistics.js'
export type { ConfidenceBin, Divergence, DocumentLoss, KldSummary, WindowSums } from './tally.js'
export type { EvaluationText } from './windows.js'
