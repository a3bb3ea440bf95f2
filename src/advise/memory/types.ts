/** What running a model takes in memory, item by item. */
import type { Gguf } from '../../gguf/index.js'

/** What of a file is read: `Gguf` is one, and so is a header that was read from a server. */
export type GgufHeader = Pick<Gguf, 'path' | 'metadata' | 'tensors'>

export interface MemoryOptions {
  /** Tokens that each sequence can hold. */
  readonly context: number
  /** Most tokens of a `decode` (`-b`). Default 2048. */
  readonly batch?: number
  /** Tokens that are computed at once (`-ub`). Default 512. */
  readonly ubatch?: number
  /** Sequences at a time (`-np`). Default 1. */
  readonly parallel?: number
  /** Types of the KV cache (`-ctk`, `-ctv`), as in `q8_0`. Default `f16`. */
  readonly cacheTypes?: { readonly keys: string; readonly values: string }
  /** One cache for all sequences (`-kvu`): `context` tokens altogether. Default false. */
  readonly unifiedCache?: boolean
  /** Whether layers with a sliding window keep the whole context (`--swa-full`). Default false. */
  readonly fullWindows?: boolean
  /** Default true, as llama.cpp chooses wherever the device can. */
  readonly flashAttention?: boolean
  /** Layers on graphics processors (`-ngl`), the output counting as one more; default 0, `Infinity` is all. */
  readonly gpuLayers?: number
  /** Share of the layers that each graphics processor takes (`-ts`). Default: one processor. */
  readonly tensorSplit?: readonly number[]
  /** Layers, from the first, whose experts stay in the system's memory (`--n-cpu-moe`). Default 0. */
  readonly cpuExpertLayers?: number
  /** Instruction sets of the processor, in ggml's names: for some of them it keeps copies of matrices. Default: none. */
  readonly instructions?: readonly string[]
  /** A draft model that runs beside it, with its own options where they differ. */
  readonly draft?: { readonly header: GgufHeader } & Partial<Omit<MemoryOptions, 'draft'>>
}

export interface MemoryItem {
  readonly what: string
  readonly use: 'weights' | 'cache' | 'compute' | 'output' | 'system'
  /** -1: the system's memory; else the index of the graphics processor. */
  readonly device: number
  readonly bytes: number
  /** Pages of the mapped file that are never read again, so that the system takes them back where memory is short. */
  readonly reclaimable?: true
  /** Of a draft model beside it. */
  readonly draft?: true
}

export interface MemoryEstimate {
  readonly items: readonly MemoryItem[]
  /** Sum of all items in the system's memory. */
  readonly ramBytes: number
  /** Sum of the items on each graphics processor. */
  readonly vramBytes: readonly number[]
  readonly totalBytes: number
  /** Whether the architecture is one whose graph is known here; else compute buffers are an upper guess. */
  readonly exact: boolean
}
