/** Requests to libllama in a separate process (native-process.ts, native-worker.ts). */

/** Options of `quantizeModel`. */
export interface QuantizeOptions {
  /** A name of `FILE_TYPES`. */
  type: string
  /** Default: the machine's hardware threads. */
  threads?: number
  /** Importance per input column, by tensor name (experts x columns for expert tensors). */
  importance?: ReadonlyMap<string, Float32Array>
  /** Type, e.g. `Q6_K`, of the token embedding and of the output, instead of the recipe's. */
  tokenEmbeddingType?: string
  outputTensorType?: string
  /** Use one type for all matrices instead of a recipe. */
  pure?: boolean
  /** Write as many files as the input has. */
  keepSplit?: boolean
  /** Allow an input that is already quantized, at a loss. */
  allowRequantize?: boolean
}

/** How much is tried: the tokenizer; the model without the values of its weights; everything, by computing a few tokens. */
export type Level = 'vocabulary' | 'load' | 'run'

export type WorkerAnswer =
  | { readonly reason: string | undefined }
  | { readonly error: string; readonly expected: boolean }

interface QuantizeRequest {
  readonly input: string
  readonly output: string
  readonly options: QuantizeOptions & { dryRun?: boolean }
}

/** Each returns llama.cpp's reason if it fails. */
export interface NativeWork {
  try(request: { path: string; level: Level }): Promise<string | undefined>
  quantize(request: QuantizeRequest): Promise<string | undefined>
}
