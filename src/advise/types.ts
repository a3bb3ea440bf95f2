/** Input and output of `advise`. The JSON of the command is an `Advice`; `schema.ts` has its schema. */
import type { Failure } from '../failures.js'
import type { ProgressEvent } from '../notices.js'
import type { MachineDevice } from './machine/machine.js'
import type { NamedMachineOptions } from './machine/named.js'
import type { QatVerdict } from './qat.js'
import type { LossEstimate, Purpose } from './quality/types.js'
import type { SpeedBasis } from './speed/types.js'

export interface AdviseOptions extends NamedMachineOptions {
  /** GGUF files, folders with such files, or families of the catalogue. Default: what is in the stores, and the catalogue. */
  readonly names?: readonly string[]
  /** Tokens of each conversation. Default: as `purpose` needs, else 8192. */
  readonly context?: number
  /** Conversations at a time. Default 1. */
  readonly parallel?: number
  /** Types of the KV cache. Default f16. */
  readonly cacheTypes?: { readonly keys: string; readonly values: string }
  /** Work that the model is for. */
  readonly purpose?: Purpose
  /** A draft model for speculative decoding: a GGUF file or a family. Its memory is added. */
  readonly draft?: string
  /** Whether the speed that the draft is expected to win counts for `minSpeed`. Default false. */
  readonly countDraft?: boolean
  /** Tokens per second. Default: as `purpose` needs, else 5. */
  readonly minSpeed?: number
  /** The database of measurements. Default: in the user's cache folder. */
  readonly store?: string
  /** Called while headers of a repository are read, and while this machine is measured, which is done once and kept in the store. */
  readonly onProgress?: (event: ProgressEvent) => void
  /** A sentence about waiting for the Hub. */
  readonly onNote?: (sentence: string) => void
  readonly signal?: AbortSignal
}

export interface AdvisedFile {
  /** Its path, or family and type. */
  readonly id: string
  readonly source: 'file' | 'repository' | 'catalogue'
  readonly path?: string
  /** Repository that has it. */
  readonly repository?: string
  /** Its name within the repository, where that was looked at. */
  readonly file?: string
  readonly type: string
  /** Size of the file; of the catalogue's families an estimate. */
  readonly bytes: number
  readonly bitsPerWeight: number
  readonly qat: QatVerdict
  readonly loss: LossEstimate
  readonly memory: {
    readonly ramBytes: number
    readonly vramBytes: number
    /** Bytes on each of several graphics cards. */
    readonly cardBytes?: readonly number[]
    /** Layers on graphics cards, the output counting as one (`-ngl`). */
    readonly gpuLayers: number
    /** Layers whose experts stay in the system's memory (`--n-cpu-moe`). */
    readonly cpuExpertLayers?: number
  }
  /** Estimated tokens per second behind half of the context. */
  readonly speed: {
    readonly generate: number
    readonly prompt: number
    /** With the draft, by what is assumed of its guesses. */
    readonly drafted?: number
    /** Where `generate` is taken to lie; how wide it is depends on the basis. */
    readonly interval: readonly [low: number, high: number]
    readonly basis: SpeedBasis
  }
  readonly fits: boolean
  /** What is missing, if it does not fit: bytes, or tokens per second. */
  readonly lacks?: { readonly what: 'memory' | 'speed'; readonly amount: number }
  readonly notes: readonly string[]
}

export interface AdvisedModel {
  readonly model: string
  readonly family?: string
  readonly licence?: string
  readonly parameters: number
  /** Least expected loss first. */
  readonly files: readonly AdvisedFile[]
  /** Id of the file to take; absent if none fits. */
  readonly pick?: string
  readonly runnerUp?: string
  /** The better file that lacks least. */
  readonly next?: { readonly id: string; readonly lacks: 'memory' | 'speed'; readonly amount: number }
  /** The advice in words. */
  readonly sentences: readonly string[]
  /** Commands that fetch, make or run the pick. */
  readonly commands: readonly { readonly what: string; readonly command: string }[]
  /** Published scores of the full-precision model. */
  readonly abilities: readonly { readonly measure: string; readonly score: number; readonly source: string }[]
  readonly drafts: readonly { readonly repository?: string; readonly kind: string }[]
}

interface AdvisedDraft {
  readonly name: string
  /** Bytes of its weights that a token reads. */
  readonly bytes: number
  /** Share of guesses that is assumed to be accepted, and guesses at a time. */
  readonly accepted: number
  readonly guesses: number
  /** Whether the speed that it wins counts. */
  readonly counted: boolean
}

export interface AdvisedDevice
  extends Pick<
    MachineDevice,
    'name' | 'description' | 'totalBytes' | 'usableBytes' | 'freeBytes' | 'bandwidth'
  > {
  /** Bytes of weights per second that the probe measured, by type. */
  readonly measured?: Readonly<Record<string, number>>
}

export interface Advice {
  readonly schema: 1
  readonly machine: {
    /** Whether options describe it; else it is this one. */
    readonly described: boolean
    readonly ramBytes: number
    readonly ramUsableBytes: number
    readonly vramBytes: number
    readonly vramUsableBytes: number
    readonly unified: boolean
    /** Names of the graphics cards, as `2 x RTX 3090`. */
    readonly gpu?: string
    /** The processor, and graphics cards in llama.cpp's order. */
    readonly devices: readonly AdvisedDevice[]
    /** Threads that compute. */
    readonly threads: number
    /** Instruction sets of the processor in ggml's names; of a described machine those of this one. */
    readonly instructions: readonly string[]
  }
  readonly run: {
    readonly context: number
    readonly parallel: number
    readonly cacheTypes: { readonly keys: string; readonly values: string }
    readonly purpose?: Purpose
    readonly minSpeed: number
    readonly draft?: AdvisedDraft
  }
  /** The largest first. Losses of different models say nothing about which is better. */
  readonly models: readonly AdvisedModel[]
  /** Measurements that were looked at. */
  readonly measurements: { readonly own: number; readonly imported: number }
  readonly notes: readonly string[]
  readonly failures: readonly Failure[]
}
