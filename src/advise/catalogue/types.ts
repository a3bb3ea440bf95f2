/** What the catalogue holds. Units are in the names: GB and GB/s are decimal, KL divergence is in nats per token. */

interface Cited {
  /** Where the facts were read. */
  readonly sources: readonly string[]
  /** Day of reading, ISO 8601. */
  readonly read: string
}

/** A quantization-aware trained release of a family. */
export interface QatRelease {
  readonly repository: string
  /** Number format that it was trained for; absent if llama.cpp has no such type. */
  readonly type?: string
  /** The publisher's name of the scheme. */
  readonly scheme: string
  /** A GGUF file, weights to be quantized by the user, or another container. */
  readonly form: 'gguf' | 'unquantized' | 'other'
  /** Recipe in the names of its files, where that is not `type`. */
  readonly file?: string
  readonly fileBytes?: number
  readonly note?: string
  readonly sources: readonly string[]
}

/** A draft model for speculative decoding, or draft blocks within the model itself. */
export interface Draft {
  readonly repository?: string
  readonly kind: string
  readonly architecture?: string
  readonly parameters?: number
  readonly note?: string
  readonly sources: readonly string[]
}

/** One size of a family of models; shapes as in the header of its GGUF files. */
export interface Family extends Cited {
  readonly id: string
  readonly name: string
  /** The family over all sizes, e.g. `gemma-3`. */
  readonly line: string
  readonly architecture: string
  /** Weights, with image and audio towers. */
  readonly parameters: number
  /** Weights of the language model alone, where it has towers. */
  readonly parametersText?: number
  /** Weights that one token uses, where experts are chosen. */
  readonly parametersActive?: number
  readonly blocks: number
  readonly embedding: number
  readonly heads: number
  readonly vocabulary: number
  readonly kvHeads?: number
  readonly headSize?: number
  readonly feedForward?: number
  readonly experts?: number
  readonly expertsUsed?: number
  readonly expertFeedForward?: number
  /** Tokens that a local attention block sees. */
  readonly slidingWindow?: number
  /** E.g. `5 local : 1 global`. */
  readonly slidingPattern?: string
  readonly localBlocks?: number
  readonly globalBlocks?: number
  readonly kvHeadsGlobal?: number
  readonly headSizeGlobal?: number
  /** The last blocks that reuse the cache of an earlier one. */
  readonly sharedKvLayers?: number
  /** Blocks with a KV cache, where that is not all of them. */
  readonly kvBlocks?: number
  /** Longest context that the model was trained for, in tokens. */
  readonly context?: number
  readonly licence: string
  /** Repository of the original weights. */
  readonly hub: string
  readonly ggufRepositories?: readonly string[]
  readonly qat?: readonly QatRelease[]
  readonly drafts?: readonly Draft[]
  readonly note?: string
}

/** A graphics card, or a chip whose graphics share the memory. */
export interface Gpu extends Cited {
  readonly id: string
  readonly names: readonly string[]
  readonly vendor: string
  readonly class: string
  /** All sizes that were sold. */
  readonly memoryGB: readonly number[]
  /** Theoretical. */
  readonly bandwidthGBs?: number
  readonly generation: string
  readonly computeCapability?: string
  /** Stated for NVIDIA only. */
  readonly fp4TensorCores?: boolean
  readonly fp16TensorTflops?: number
  readonly fp16Tflops?: number
  readonly unifiedMemory?: boolean
  readonly note?: string
}

export interface CpuMemory extends Cited {
  readonly type: string
  /** Bandwidth of one 64-bit channel. */
  readonly channelGBs: number
}

/** Size of a file of this type. */
export interface FileTypeSize {
  readonly type: string
  /** Of a whole file of Llama 3 8B, embeddings included. */
  readonly bitsPerWeight: number
  /** Whether repositories usually have a file of it. */
  readonly usual?: boolean
  /** One of the types before K-quants. */
  readonly legacy?: boolean
  readonly needsImatrix?: boolean
  readonly fullPrecision?: boolean
  /** A 4-bit floating-point format, for which some devices have matrix units. */
  readonly fp4?: boolean
  readonly note?: string
}

/** A published loss of a quantized file. */
export interface PublishedLoss extends Cited {
  /** A family of the catalogue, or a name of its own. */
  readonly family: string
  readonly model: string
  readonly parameters?: number
  readonly type: string
  /** Mean over tokens. */
  readonly kld: number
  readonly kldError?: number
  readonly top1?: number
  readonly kldByCategory?: Readonly<Record<string, number>>
  readonly bitsPerWeight?: number
  /** Absent if not stated. */
  readonly imatrix?: boolean
  readonly qat?: boolean
  /** What the divergence is from: the model's own 16-bit weights, or something that cannot be compared with it. */
  readonly reference: 'original' | 'qat' | 'q8_0' | 'other'
  readonly referenceNamed: string
  readonly text: string
  /** Over the whole vocabulary, or over the most probable tokens. */
  readonly measure: 'full' | 'top 40'
  readonly uploader?: string
  /** Rows are no multiple of a block, so the file holds larger types than its name says. */
  readonly fallback?: boolean
  readonly secondHand?: boolean
  readonly note?: string
}

/** How much of PTQ's loss QAT left. */
export interface TrainingResult extends Cited {
  readonly by: 'quench' | 'publisher'
  readonly model: string
  readonly type: string
  /** Loss with QAT / loss with PTQ of the same type. */
  readonly kept: number
  readonly measured: string
}

/** Loss from a quantized KV cache, against the same weights with an f16 cache. */
export interface CacheLoss extends Cited {
  readonly family?: string
  readonly model: string
  readonly keys: string
  readonly values: string
  readonly kld: number
  readonly top1?: number
  readonly text: string
  readonly secondHand?: boolean
}

/** A published score of a full-precision model. */
export interface Ability extends Cited {
  readonly family: string
  readonly model: string
  readonly measure: string
  readonly score: number
}

export interface Catalogue {
  /** Day of the youngest facts. */
  readonly made: string
  readonly families: readonly Family[]
  /** What `quench catalogue update` has refreshed: its day, and ids of families. */
  readonly updated?: { readonly made: string; readonly families: readonly string[] }
  /** Why what was refreshed is not used. */
  readonly problem?: string
  readonly gpus: readonly Gpu[]
  readonly cpuMemory: readonly CpuMemory[]
  readonly types: readonly FileTypeSize[]
  readonly losses: readonly PublishedLoss[]
  readonly training: readonly TrainingResult[]
  readonly cacheLosses: readonly CacheLoss[]
  readonly abilities: readonly Ability[]
}
