/** Requests to libllama in a separate process (native-process.ts, native-worker.ts). */
import type { GgufValue } from '../gguf/index.js'

/** Options of `quantizeModel`. */
export interface QuantizeOptions {
  /** A name of `FILE_TYPES`, or `COPY`. */
  type: string
  /** Default: the machine's hardware threads. */
  threads?: number
  /** Importance per input column, by tensor name (experts x columns for expert tensors). */
  importance?: ReadonlyMap<string, Float32Array>
  /** Type, e.g. `Q6_K`, of the token embedding and of the output, instead of the recipe's. */
  tokenEmbeddingType?: string
  outputTensorType?: string
  /** Tensor types by expressions that are searched in names (`std::regex_search`); the first match decides. */
  tensorTypes?: readonly TensorTypeRule[]
  /** Leave `output.weight` as it is. */
  leaveOutputTensor?: boolean
  /** Use one type for all matrices instead of a recipe. */
  pure?: boolean
  /** Write as many files as the input has: `output-00001-of-00003.gguf` and so on. */
  keepSplit?: boolean
  /** Allow an input that is already quantized, at a loss. */
  allowRequantize?: boolean
  /** Added to the metadata; strings of up to 127 bytes. What libllama knows is also read as if the input said so. */
  metadata?: ReadonlyMap<string, OverrideValue>
  /** Layers to leave out, in rising order; those after them move up. */
  pruneLayers?: readonly number[]
}

/** What libllama can add to metadata. */
export type OverrideValue = Extract<GgufValue, { type: 'uint32' | 'float32' | 'bool' | 'string' }>

/** A tensor type, e.g. `Q6_K`, for names in which an expression is found. */
export interface TensorTypeRule {
  readonly pattern: string
  readonly type: string
}

/** What libllama would make of a tensor. */
export interface PlannedTensor {
  readonly name: string
  /** ggml_type id. */
  readonly type: number
  /** ggml_type id that was chosen first, where its blocks do not divide the rows. */
  readonly wanted?: number
}

/** How much is tried: the tokenizer; the model without the values of its weights; everything, by computing a few tokens. */
export type Level = 'vocabulary' | 'load' | 'run'

export type WorkerAnswer =
  | { readonly result: Awaited<ReturnType<NativeWork[keyof NativeWork]>> }
  | { readonly error: string; readonly expected: boolean }

interface QuantizeRequest {
  readonly input: string
  readonly output: string
  readonly options: QuantizeOptions
  /** What is written: `output`, or its parts. */
  readonly files: readonly string[]
}

/** Each returns llama.cpp's reason if it fails. */
export interface NativeWork {
  try(request: { path: string; level: Level }): Promise<string | undefined>
  quantize(request: QuantizeRequest): Promise<string | undefined>
  /** A dry run: the tensors in the order in which they would be written. */
  plan(request: { input: string; options: QuantizeOptions }): Promise<string | readonly PlannedTensor[]>
}
