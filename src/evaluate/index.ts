/** Evaluation: how far quantized files are from their reference, and how much training recovers. */

export type {
  ConfidenceBin,
  Divergence,
  DocumentLoss,
  KldSummary,
  WindowSums,
} from './divergence-statistics.js'
export { type EvaluateOptions, evaluateFiles } from './evaluate.js'
export {
  type EvaluatedFile,
  type Evaluation,
  type FileEvaluation,
  perplexityWarnings,
} from './evaluation.js'
export { type EffectiveBits, effectiveBits, recovered } from './gain.js'
export type { ModelOptions } from './models.js'
export {
  evaluatePerplexity,
  type PerplexityEvaluation,
  type PerplexityFile,
  type PerplexityOptions,
} from './perplexity.js'
export { needModel } from './references/index.js'
export type { Estimate } from './statistics.js'
export { type ChatOptions, evaluateChat } from './tasks/chat.js'
export { type Conversation, type Prompt, readConversations, readPrompts } from './tasks/chat-files.js'
export { type ChoiceFile, readChoices } from './tasks/choice-files.js'
export {
  type ChoiceComparison,
  type ChoiceEvaluation,
  type ChoiceScore,
  evaluateChoices,
  type Share,
} from './tasks/choices.js'
export {
  evaluateGeneration,
  type GenerationComparison,
  type GenerationEvaluation,
  type GenerationOptions,
  type GenerationScore,
  promptsFromTexts,
  type ToolCallScore,
} from './tasks/generation.js'
export type { EvaluationText } from './windows.js'
