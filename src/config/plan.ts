/** What a run will do, as it is told before it starts. */
import type { Method } from './methods.js'

/** What is to be written of a text before a run can start. */
export interface Writing {
  /** Tokens; 0 where the text is in the cache already, or all of it is read. */
  readonly tokens: number
  /** Bytes on disk, in the cache folder, that the text takes, and a copy of the model that is there only while it is written. */
  readonly text: number
  readonly copy: number
}

/** A part of what a run takes, in words, and how much of it: bytes or seconds. */
export interface Item {
  readonly what: string
  readonly amount: number
}

export interface PlannedStage {
  readonly stage: Method
  /** Largest resident size of the process, bytes. */
  readonly bytes: number
  readonly seconds: number
  /** What the bytes and the seconds consist of. Of steps that are to fill a time the seconds are not itemised. */
  readonly memory: readonly Item[]
  readonly work: readonly Item[]
  /** Tokens a second that pass through the whole of it. */
  readonly tokensPerSecond: number
}

export interface Plan {
  readonly method: Method
  /** The whole student is in memory; otherwise one block at a time. */
  readonly inMemory: boolean
  /** Activations inside of a block are kept from one group of matrices to the next; otherwise each is computed from the beginning of the block. */
  readonly keepsActivations: boolean
  /** The hidden states between blocks lie on disk, this many bytes; 0 if they fit in memory. */
  readonly spillBytes: number
  /** Bytes of finished blocks that are kept on disk until the end. */
  readonly blockBytes: number
  /** Bytes of checkpoints of the whole state, of which there is room for two. */
  readonly checkpointBytes: number
  /** All that a run takes on the disk beside its output until it ends, and what that consists of. */
  readonly diskBytes: number
  readonly disk: readonly Item[]
  readonly memory: number
  /** Bytes of the optimizer's moments on disk; 0 if they are in memory. */
  readonly momentBytes: number
  /** k of the teacher's top-k tokens and their bytes on disk; 0: steps compare with all. */
  readonly teacher: { readonly topK: number; readonly bytes: number }
  /** Embedding and output matrices that are only quantized by the reference quantizer. */
  readonly untrained: readonly string[]
  /** Tokens of the training text, and those of them that the block-wise start is computed from. */
  readonly tokens: number
  readonly calibration: number
  /** Where those are few for the widest matrices: how many would do, and seconds of the block-wise start from so many. */
  readonly few?: { readonly inputs: number; readonly tokens: number; readonly seconds: number }
  /** What the model writes of the text before. */
  readonly writing: Writing & { readonly seconds: number }
  readonly stages: readonly PlannedStage[]
}
