/** Input and output of a comparison: options, progress, and the result that reports are made from. */

import type { TrainEvent, TrainSettings } from '../config/options.js'
import type { Divergence, DocumentLoss, EvaluatedFile, FileEvaluation } from '../evaluate/index.js'
import type { Failure } from '../failures.js'
import type { ProgressEvent } from '../notices.js'
import type { FileSpeed, MeasuringMachine } from '../speed/index.js'
import type { TrainReport } from '../train/report.js'
import type { Continuation, Prompt } from './continuations.js'
import type { Judgement, Pair } from './judge.js'
import type { TensorError } from './tensor-errors.js'

export interface CompareOptions {
  /** The full-precision GGUF file: source of all files that are made, and reference. */
  readonly model: string
  /**
   * The model before its quantization-aware training, if `model` is the checkpoint of such a training: a second reference. The divergence
   * from `model` is the loss of the conversion, that from `original` the loss of the whole method.
   */
  readonly original?: string
  /** Other quantized files of this model. */
  readonly files?: readonly string[]
  /** PTQ types to make. Default: the usual ladder, IQ types included. */
  readonly types?: readonly string[]
  /**
   * The importance matrix of PTQ files that are made with one: a file; `auto`, one of the text that training uses; or `none`, for
   * plain PTQ alone. Default `auto`.
   */
  readonly imatrix?: string
  /** Types to train. Default: none. */
  readonly train?: readonly string[]
  /** Held-out text: files and folders. Default: the model writes it. */
  readonly data?: readonly string[]
  /** Limit of tokens of the text. Default: all. */
  readonly tokens?: number
  /** Tokens per window. Default 512. */
  readonly context?: number
  /** Folder for new files. */
  readonly folder: string
  /** Training settings, as for `train`. */
  readonly training?: TrainSettings
  /** Rounds of the speed tests; 0 for none. Default 5. */
  readonly repetitions?: number
  readonly prompt?: readonly number[]
  readonly generate?: readonly number[]
  readonly depth?: readonly number[]
  readonly threads?: number
  /** Layers to offload to a GPU, -1 for all. Default 0. */
  readonly gpuLayers?: number
  /** KV cache type of the files, e.g. `q8_0`, or `q8_0/f16` for keys / values. Default `f16`. */
  readonly kvType?: string
  /** Memory that the recommended file has to fit into. */
  readonly memoryBytes?: number
  /** Number of prompts to continue. Default 4; prompts have 24 tokens, continuations 48. */
  readonly continuations?: number
  /** The database of measurements. Default: in the user's cache folder. */
  readonly store?: string
  readonly onProgress?: (event: CompareEvent) => void
  /** Called with a sentence for the user while files are trained. */
  readonly onWarning?: (warning: string) => void
}

export type CompareEvent = ProgressEvent &
  (
    | {
        readonly stage: 'hash' | 'text' | 'importance' | 'evaluate' | 'bench' | 'tensors' | 'write' | 'judge'
      }
    | { readonly stage: 'quantize'; readonly name: string }
    | { readonly stage: 'train'; readonly type: string; readonly event: TrainEvent }
  )

export interface ComparedFile extends Omit<FileEvaluation, 'windowSums'>, Judgement {
  /** `Q4_0`, `Q4_0 imatrix`, `Q4_0 QAT`, or the name of a given file. */
  readonly name: string
  readonly method: 'ptq' | 'qat'
  /** Whether it was made with an importance matrix. */
  readonly importance: boolean
  /** SHA-256 of the file. */
  readonly hash: string
  /** Memory with a context of `contextTokens`; without speed tests, the file size. */
  readonly neededBytes: number
  readonly speed?: FileSpeed
  readonly tensorErrors: readonly TensorError[]
  readonly continuations: readonly Continuation[]
  readonly training?: TrainReport
  /** By document; a single document is split into equal parts. */
  readonly parts: readonly Pick<DocumentLoss, 'name' | 'tokens' | 'kld'>[]
}

export interface Comparison {
  readonly model: EvaluatedFile & {
    /** Divergence from the original: the change made by training alone. */
    readonly original?: Divergence
    readonly name: string
    readonly hash: string
    readonly speed?: FileSpeed
    readonly continuations: readonly Continuation[]
  }
  /** Of `CompareOptions.original`; files and model then have a divergence from it (`original`). */
  readonly original?: EvaluatedFile & { readonly hash: string }
  /** Ordered by size, the largest first. */
  readonly files: readonly ComparedFile[]
  readonly pairs: readonly Pair[]
  /** Sentences for the user. */
  readonly verdict: readonly string[]
  readonly failures: readonly Failure[]
  readonly warnings: readonly string[]
  readonly prompts: readonly Prompt[]
  readonly settings: {
    /** Files and folders of the text; none if the model wrote it. */
    readonly data: readonly string[]
    /** SHA-256 of the texts. */
    readonly textHash: string
    readonly context: number
    readonly windows: number
    /** Scored tokens. */
    readonly tokens: number
    readonly repetitions: number
    readonly threads: number | null
    /** The number that `threads: null` is with this model. */
    readonly threadsUsed: number
    readonly gpuLayers?: number
    readonly kvType?: string
    readonly continuationTokens: number
    /** Context in tokens that `neededBytes` includes. */
    readonly contextTokens: number
    readonly machine: MeasuringMachine
    readonly versions: Readonly<Record<string, string>>
  }
  readonly store: { readonly path: string; readonly measurements: number; readonly repeated: number }
}
