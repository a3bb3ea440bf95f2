/** The public API of quench. */

export type { CommandEvent } from './cli/terminal/events.js'
export { compare } from './compare/compare.js'
export type { ComparedFile, CompareEvent, CompareOptions, Comparison } from './compare/comparison.js'
export { type DemoEvent, type DemoFile, type DemoOptions, type DemoReport, demo } from './compare/demo.js'
export type { Method } from './config/methods.js'
export type { MeasuredBlock, StageReport, TrainEvent, TrainOptions } from './config/options.js'
export type { Item, Plan } from './config/plan.js'
export { type Document, readDocuments, readTexts } from './data/texts.js'
export { TeacherCache } from './engine/teacher-cache.js'
export { FileError, QuenchError, UsageError } from './errors.js'
export {
  type ChatOptions,
  type ChoiceComparison,
  type ChoiceEvaluation,
  type ChoiceFile,
  type ChoiceScore,
  type ConfidenceBin,
  type Conversation,
  type Divergence,
  type DocumentLoss,
  type EffectiveBits,
  type Estimate,
  type EvaluatedFile,
  type EvaluateOptions,
  type Evaluation,
  type EvaluationText,
  effectiveBits,
  evaluateChat,
  evaluateChoices,
  evaluateFiles,
  evaluateGeneration,
  type FileEvaluation,
  type GenerationComparison,
  type GenerationEvaluation,
  type GenerationOptions,
  type GenerationScore,
  type KldSummary,
  type ModelOptions,
  type Prompt,
  promptsFromTexts,
  readChoices,
  readConversations,
  readPrompts,
  recovered,
  type Share,
  type ToolCallScore,
  type WindowSums,
} from './evaluate/index.js'
export {
  createGguf,
  type Gguf,
  type GgufContent,
  type GgufValue,
  type GgufWriter,
  Metadata,
  openGguf,
  type TensorInfo,
} from './gguf/index.js'
export { type Inspection, inspectFile, type ShortValue } from './gguf/inspect.js'
export { type QuantizeFileOptions, type QuantizeFileResult, quantizeFile } from './quantize/ptq.js'
export { modelCard } from './report/card.js'
export { reportPage } from './report/page.js'
export { type Bench, type BenchOptions, benchFiles, type FileSpeed } from './speed/index.js'
export type { TrainReport } from './train/report.js'
export { planTraining, train } from './train/train.js'
