/** Requests to libllama in a separate process (native-process.ts, native-worker.ts). */
import type { GgufValue } from '../gguf/index.js'

/** File types that can be written, by name, and their `llama_ftype`. */
export const FILE_TYPES: Readonly<Record<string, number>> = {
  F32: 0,
  F16: 1,
  BF16: 32,
  Q8_0: 7,
  Q6_K: 18,
  Q5_K_M: 17,
  Q5_K_S: 16,
  Q5_1: 9,
  Q5_0: 8,
  Q4_K_M: 15,
  Q4_K_S: 14,
  Q4_1: 3,
  Q4_0: 2,
  IQ4_NL: 25,
  IQ4_XS: 30,
  MXFP4_MOE: 38,
  Q3_K_L: 13,
  Q3_K_M: 12,
  Q3_K_S: 11,
  IQ3_M: 27,
  IQ3_S: 26,
  IQ3_XS: 22,
  IQ3_XXS: 23,
  Q2_K: 10,
  Q2_K_S: 21,
  IQ2_M: 29,
  IQ2_S: 28,
  IQ2_XS: 20,
  IQ2_XXS: 19,
  Q2_0: 41,
  TQ2_0: 37,
  TQ1_0: 36,
  IQ1_M: 31,
  IQ1_S: 24,
  Q1_0: 40,
}

/** Every tensor keeps its type; a split model becomes one file. */
export const COPY = 'COPY'

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
  /** Whether to try at the same time if the model loads. */
  readonly trial: boolean
}

/** Each returns llama.cpp's reason if it fails. */
export interface NativeWork {
  try(request: { path: string; level: Level }): Promise<string | undefined>
  /** If the model does not load, the process ends, for a trial alone to say why. */
  quantize(request: QuantizeRequest): Promise<string | undefined>
  /** A dry run: the tensors in the order in which they would be written. */
  plan(request: { input: string; options: QuantizeOptions }): Promise<string | readonly PlannedTensor[]>
}
