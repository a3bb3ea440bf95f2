/** What a training run is told, what it tells while it runs, and what it gives. */

import type { Backend } from '../backends/backend.js'
import type { TeacherCache } from '../engine/teacher-cache.js'
import type { EmbeddingChoice } from '../student/untrained.js'
import type { MeanError } from '../validation/estimate.js'
import type { blockwise, Method } from './methods.js'
import type { Plan } from './plan.js'

export interface TrainOptions {
  /** A full-precision GGUF file (F32, F16 or BF16). */
  readonly input: string
  readonly output: string
  /** A recipe such as `Q4_0` or `Q3_K_M`. */
  readonly type: string
  /** Text files and folders. */
  readonly data?: readonly string[]
  /** Share of the tokens that the model writes itself, from 0 to 1. Default: 0 with data, half without. */
  readonly selfWritten?: number
  /** Share of the tokens that are general text, which ships with quench. Default: half of the others with data, all of them without. */
  readonly general?: number
  /** Tokens of each kind of general text that stages are validated on. Default 1,536. */
  readonly validation?: number
  /** Most distinct training tokens. Default 131,072, or fewer where the model has to write them and `seconds` are short. */
  readonly tokens?: number
  /** Optimizer steps. Default 300, unless `seconds` is given. */
  readonly steps?: number
  /**
   * Take about this long in all, text to be written included: that and the block-wise start are cut down to fit, and the number of
   * steps is set after the first of them were timed. How fast the machine is decides then, so such a run does not make the same file
   * each time; a resumed one keeps what was decided.
   */
  readonly seconds?: number
  /** Go on from the checkpoint beside the output. */
  readonly resume?: boolean
  /** Tokens of a window. Default 128, or the model's context if that is smaller. */
  readonly context?: number
  /** Whether embedding and output matrices train or are only quantized. Default: `auto`, see untrained.ts. */
  readonly embeddings?: EmbeddingChoice
  /**
   * Train from the teacher's top-k tokens at each position, computed once and cached on disk; 0: from its whole
   * distribution. Default: 256 where that saves a fifth of the time or more.
   */
  readonly teacherTopK?: number
  /** What trains after the block-wise start. Default: `auto`, the most that fits in the memory. */
  readonly method?: Method | 'auto'
  /** Bytes that the process may take. Default: a fixed share of the machine's memory (memory.ts). */
  readonly memory?: number
  /** Tokens from which the block-wise start is computed; 0 for none. Default 49,152, or fewer where `seconds` are short. */
  readonly calibration?: number
  /** Tokens of a step. Default 512. */
  readonly batch?: number
  /** Highest rates, in units of a quantization step (weights) and relative (scales, norms). */
  readonly weightRate?: number
  readonly scaleRate?: number
  readonly seed?: number
  /** Seconds between checkpoints. Default: as often as they take a twentieth of the time. */
  readonly checkpointEvery?: number
  /** Teacher activations kept by window; share one between runs on the same model and text. */
  readonly teacher?: TeacherCache
  /** Where it computes. Default: the processor. */
  readonly backend?: Backend
  readonly onPlan?: (plan: Plan) => void
  /** Called with a sentence for a person. */
  readonly onWarning?: (warning: string) => void
  readonly onProgress?: (event: TrainEvent) => void
  /** Called once, after the first block: a better projection than the plan's. */
  readonly onBlock?: (measured: MeasuredBlock) => void
  /** Stops after the current step, with a checkpoint. */
  readonly signal?: AbortSignal
}

/** What decides how a file turns out, of any input, output and type. */
export type TrainSettings = Omit<
  TrainOptions,
  | 'input'
  | 'output'
  | 'type'
  | 'resume'
  | 'teacher'
  | 'backend'
  | 'onPlan'
  | 'onWarning'
  | 'onProgress'
  | 'onBlock'
  | 'signal'
>

/** What a run is doing: `done` of `total`, in parts of a sample, tokens, batches, blocks or steps. */
export interface TrainEvent {
  readonly stage:
    | 'measure'
    | 'write text'
    | 'importance'
    | 'validate'
    | 'fisher'
    | typeof blockwise
    | 'teacher'
    | 'train'
  readonly done: number
  readonly total: number
  /** What `total` is in tokens. */
  readonly tokens: number
  /** Mean KL divergence of the last step, in nats per token. */
  readonly loss?: number
}

/** The first block that was solved for, and what follows from it. */
export interface MeasuredBlock {
  readonly seconds: number
  /** Tokens a second that pass through the whole stage at this rate. */
  readonly tokensPerSecond: number
  /** Seconds for the blocks that are left, and how many they are. */
  readonly left: number
  readonly blocksLeft: number
  /** Largest resident size of the process so far. */
  readonly peakBytes: number
}

/** A stage as it was. */
export interface StageReport {
  readonly stage: Method
  readonly seconds: number
  /** Mean KL divergence on the validation text after it, nats per token, mean over kinds. */
  readonly kld: MeanError
  /** Whether its result stays: only where it is better than before it, by more than chance and on no kind of text worse. */
  readonly taken: boolean
}
