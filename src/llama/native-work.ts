/** What libllama does in a process of its own (native-process.ts, native-worker.ts). */

/** Options of `quantizeModel`. */
export interface QuantizeOptions {
  /** A name of `FILE_TYPES`. */
  type: string
  /** Default: as many as the machine runs at once. */
  threads?: number
  /** Importance per input column, by tensor name (experts x columns for expert tensors). */
  importance?: ReadonlyMap<string, Float32Array>
  /** Tensor type, e.g. `Q6_K`, of the token embedding and of the output, instead of what the recipe says. */
  tokenEmbeddingType?: string
  outputTensorType?: string
  /** One type for all matrices, no recipe. */
  pure?: boolean
  /** Write as many files as the input has. */
  keepSplit?: boolean
  /** Allow an input that is quantized already, at a loss. */
  allowRequantize?: boolean
}

/** What is tried: the tokenizer; the model without the values of its weights; all of it, by computing some tokens. */
export type Level = 'vocabulary' | 'load' | 'run'

export type WorkerAnswer =
  | { readonly reason: string | undefined }
  | { readonly error: string; readonly expected: boolean }

interface QuantizeRequest {
  readonly input: string
  readonly output: string
  readonly options: QuantizeOptions & { dryRun?: boolean }
}

/** Each gives llama.cpp's reason if it fails. */
export interface NativeWork {
  try(request: { path: string; level: Level }): Promise<string | undefined>
  quantize(request: QuantizeRequest): Promise<string | undefined>
}
