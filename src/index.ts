/** The public API of quench. */

export { advise } from './advise/advise.js'
export { loadCatalogue } from './advise/catalogue/catalogue.js'
export type {
  Ability,
  CacheLoss,
  Catalogue,
  CpuMemory,
  Draft,
  Family,
  FileTypeSize,
  Gpu,
  PublishedLoss,
  QatRelease,
  TrainingResult,
} from './advise/catalogue/types.js'
export { type MeasurementRecord, measurementSchema } from './advise/measurements/record.js'
export { adviceSchema } from './advise/schema.js'
export type { Advice, AdvisedFile, AdvisedModel, AdviseOptions } from './advise/types.js'
export {
  type AllocatedTensor,
  type AllocateEvent,
  type AllocateOptions,
  type Allocation,
  quantizeToSize,
} from './allocate/allocate.js'
export type { CommandEvent } from './cli/terminal/events.js'
export { compare } from './compare/compare.js'
export type { ComparedFile, CompareEvent, CompareOptions, Comparison } from './compare/comparison.js'
export { type DemoEvent, type DemoFile, type DemoOptions, type DemoReport, demo } from './compare/demo.js'
export {
  type ConvertOptions,
  type ConvertResult,
  convertCheckpoint,
  describeCheckpoint,
  isCheckpoint,
} from './convert/index.js'
export { type OwnTextOptions, writeDocuments } from './data/own-text.js'
export { type Document, readDocuments, readTexts } from './data/texts.js'
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
  evaluatePerplexity,
  type FileEvaluation,
  type GenerationComparison,
  type GenerationEvaluation,
  type GenerationOptions,
  type GenerationScore,
  type KldSummary,
  type ModelOptions,
  type PerplexityEvaluation,
  type PerplexityFile,
  type PerplexityOptions,
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
  type Inspection,
  inspectFile,
  Metadata,
  openGguf,
  type ShortValue,
  type TensorInfo,
} from './gguf/index.js'
export { type ImatrixReport, makeImatrix } from './imatrix/make.js'
export type { ImatrixEvent, ImatrixOptions } from './imatrix/options.js'
export {
  detectLattices,
  type GridSummary,
  type Lattice,
  type LatticeReport,
  type TensorLattice,
} from './lattice/index.js'
export type { Need } from './names/choose.js'
export {
  type PullOptions,
  pullModel,
  type ResolvedFile,
  type ResolvedModel,
  type ResolveOptions,
  resolveModel,
} from './names/resolve.js'
export type { ProgressEvent } from './notices.js'
export { readImatrix } from './quantize/imatrix/file.js'
export type { Imatrix } from './quantize/imatrix/imatrix.js'
export type { QuantizeSettings, TensorTypeChoice } from './quantize/options.js'
export { planQuantization, type QuantizePlan, type TensorPlan } from './quantize/plan.js'
export { type QuantizeFileOptions, type QuantizeFileResult, quantizeFile } from './quantize/ptq.js'
export { modelCard, reportPage } from './report/index.js'
export { type Bench, type BenchOptions, benchFiles, type FileSpeed } from './speed/index.js'
export {
  type Item,
  type MeasuredBlock,
  type Method,
  type Plan,
  planTraining,
  type StageReport,
  TeacherCache,
  type TrainEvent,
  type TrainOptions,
  type TrainReport,
  train,
} from './train/index.js'
