/** Evaluation: how far quantized files are from their reference, and what training has won. */
export { type ChatOptions, evaluateChat } from './chat.js'
export { type Conversation, type Prompt, readConversations, readPrompts } from './chat-files.js'
export { type ChoiceFile, readChoices } from './choice-files.js'
export {
  type ChoiceComparison,
  type ChoiceEvaluation,
  type ChoiceScore,
  evaluateChoices,
  type Share,
} from './choices.js'
export { type EvaluateOptions, evaluateFiles, type ModelOptions } from './evaluate.js'
export {
  type EvaluatedFile,
  type Evaluation,
  type FileEvaluation,
  perplexityWarnings,
} from './evaluation.js'
export { type EffectiveBits, effectiveBits, recovered } from './gain.js'
export {
  evaluateGeneration,
  type GenerationComparison,
  type GenerationEvaluation,
  type GenerationOptions,
  type GenerationScore,
  promptsFromTexts,
  type ToolCallScore,
} from './generation.js'
export { needModel } from './saved-reference.js'
export type { Estimate } from './statistics.js'
export type { ConfidenceBin, Divergence, DocumentLoss, KldSummary, WindowSums } from './tally.js'
export type { EvaluationText } from './windows.js'
