/** Options, progress events and stage reports of a training run. */

import type { Backend } from '../backends/backend.js'
import type { DeviceName } from '../backends/devices.js'
import type { TeacherCache } from '../engine/teacher-cache.js'
import type { ProgressEvent } from '../notices.js'
import type { TypeSettings } from '../quantize/options.js'
import type { EmbeddingChoice } from '../student/untrained.js'
import type { MeanError } from '../validation/estimate.js'
import type { blockwise, Method } from './methods.js'
import type { Plan } from './plan.js'

export interface TrainOptions extends TypeSettings {
  /** A full-precision GGUF file (F32, F16 or BF16). */
  readonly input: string
  readonly output: string
  /** A recipe such as `Q4_0` or `Q3_K_M`. */
  readonly type: string
  /** An importance matrix, of `makeImatrix` or llama-imatrix, in place of one that is collected from general text. */
  readonly imatrix?: string
  /** Text files and folders. */
  readonly data?: readonly string[]
  /** Share of the tokens that the model writes itself, from 0 to 1. Default: 0 with data, else what `general` leaves, or half. */
  readonly selfWritten?: number
  /** Share of the tokens from the general text that ships with quench. Default: half of the others with data, all of them without. */
  readonly general?: number
  /** Tokens of each kind of general text that stages are validated on. Default 1,536. */
  readonly validation?: number
  /** Size of the training set in tokens. Default 131,072, or fewer if the model has to write them and `seconds` is short. */
  readonly tokens?: number
  /** Optimizer steps. Default 300, unless `seconds` is given. */
  readonly steps?: number
  /**
   * Approximate total time, including self-written text. That text and the block-wise stage are cut down to fit, and the number of
   * steps is set after the first of them were timed. The result then depends on the speed of the machine, so such a run does not make
   * the same file each time; a resumed run keeps the decisions.
   */
  readonly seconds?: number
  /** Resume from the checkpoint next to the output. */
  readonly resume?: boolean
  /** Window length in tokens. Default 128, or the model's context if that is smaller. */
  readonly context?: number
  /** Whether embedding and output matrices train or are only quantized. Default: `auto`, see untrained.ts. */
  readonly embeddings?: EmbeddingChoice
  /**
   * Train from the teacher's top-k tokens at each position, computed once and cached on disk; 0: from its whole
   * distribution. Default: 256 if that saves a fifth of the time or more.
   */
  readonly teacherTopK?: number
  /** What trains after the block-wise stage. Default: `auto`, the first method that fits in memory and time. */
  readonly method?: Method | 'auto'
  /** Memory limit of the process in bytes. Default: a fixed share of the machine's memory (memory.ts). */
  readonly memory?: number
  /** What computes: the processor, or a GPU through WebGPU. `auto`: whichever runs the first block faster. Default: `cpu`. */
  readonly device?: DeviceName | 'auto'
  /** Limit of the buffers on a GPU in bytes. Default: none. */
  readonly deviceMemory?: number
  /** Calibration tokens of the block-wise stage; 0 skips it. Default 49,152, or fewer if `seconds` is short. */
  readonly calibration?: number
  /** Tokens per step. Default 512. */
  readonly batch?: number
  /** Peak learning rates: in quantization steps (weights), relative (scales, norms). */
  readonly weightRate?: number
  readonly scaleRate?: number
  readonly seed?: number
  /** Seconds between checkpoints. Default: so that saving takes at most a twentieth of the time. */
  readonly checkpointEvery?: number
  /** Cache of teacher activations by window; share it between runs on the same model and text. */
  readonly teacher?: TeacherCache
  /** The backend that computes, in place of that of `device`. */
  readonly backend?: Backend
  readonly onPlan?: (plan: Plan) => void
  /** Called with a human-readable sentence. */
  readonly onWarning?: (warning: string) => void
  readonly onProgress?: (event: TrainEvent) => void
  /** Called once, after the first block, with a better projection than the plan's. */
  readonly onBlock?: (measured: MeasuredBlock) => void
  /** Stops after the current step, with a checkpoint. */
  readonly signal?: AbortSignal
}

/** The options that shape the result, apart from input, output and type. */
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

/** Progress of a run: `done` of `total`, in parts of the probe, tokens, batches, blocks or steps. */
export interface TrainEvent extends ProgressEvent {
  readonly stage:
    | 'measure'
    | 'write text'
    | 'importance'
    | 'validate'
    | 'fisher'
    | typeof blockwise
    | 'teacher'
    | 'train'
  /** `total` in tokens. */
  readonly tokens: number
  /** Mean KL divergence of the last step, in nats per token. */
  readonly loss?: number
}

/** Measurements of the first solved block, and the projection from them. */
export interface MeasuredBlock {
  readonly seconds: number
  /** Throughput of the whole stage at this rate, tokens per second. */
  readonly tokensPerSecond: number
  /** Projected seconds for the remaining blocks, and their number. */
  readonly left: number
  readonly blocksLeft: number
  /** Peak resident size of the process so far, bytes. */
  readonly peakBytes: number
}

/** The report of a finished stage. */
export interface StageReport {
  readonly stage: Method
  readonly seconds: number
  /** Mean KL divergence on the validation text after it, nats per token, mean over kinds. */
  readonly kld: MeanError
  /** Whether its result is kept: only if it beats the state before it by more than chance, and is worse on no kind of text. */
  readonly taken: boolean
}
