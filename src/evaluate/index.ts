/** Evaluation: how far quantized files are from their reference, and what training has won. */
export { type ChoiceFile, readChoices } from './choice-files.js'
export {
  type ChoiceComparison,
  type ChoiceEvaluation,
  type ChoiceScore,
  evaluateChoices,
  type Share,
} from './choices.js'
export { type EvaluateOptions, evaluateFiles, type ModelOptions } from './evaluate.js'
export type { EvaluatedFile, Evaluation, FileEvaluation } from './evaluation.js'
export { type EffectiveBits, effectiveBits, recovered } from './gain.js'
export type { Estimate } from './statistics.js'
export type { ConfidenceBin, Divergence, DocumentLoss, KldSummary, WindowSums } from './tally.js'
export type { EvaluationText } from './windows.js'
