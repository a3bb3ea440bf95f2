/** The plan of a run, reported before it starts. */
import type { DeviceName } from '../backends/devices.js'
import type { Method } from './methods.js'

/** Text that the model has to write before a run can start. */
export interface Writing {
  /** Tokens; 0 if the text is cached already, or none of it is self-written. */
  readonly tokens: number
  /** Bytes in the cache folder: of the text, and of a temporary copy of the model that writes it. */
  readonly text: number
  readonly copy: number
}

/** An item of a run's cost: a description, and an amount in bytes or seconds. */
export interface Item {
  readonly what: string
  readonly amount: number
}

export interface PlannedStage {
  readonly stage: Method
  /** Peak resident size of the process, bytes. */
  readonly bytes: number
  readonly seconds: number
  /** The items of the bytes and the seconds. Seconds of steps that fill a given time are not itemised. */
  readonly memory: readonly Item[]
  readonly work: readonly Item[]
  /** Items of the bytes on a GPU; absent if none computes. */
  readonly deviceMemory?: readonly Item[]
  /** Throughput of the whole stage, tokens per second. */
  readonly tokensPerSecond: number
}

export interface Plan {
  readonly method: Method
  /** What computes, and why, if the run has chosen it. Absent: the processor. */
  readonly device?: { readonly name: DeviceName; readonly why?: string }
  /** The whole student is in memory; otherwise one block at a time. */
  readonly inMemory: boolean
  /** Activations inside a block are kept from one group of matrices to the next; otherwise each group recomputes them. */
  readonly keepsActivations: boolean
  /** Bytes of the hidden states between blocks on disk; 0 if they fit in memory. */
  readonly spillBytes: number
  /** Bytes of finished blocks that are kept on disk until the end. */
  readonly blockBytes: number
  /** Bytes of two checkpoints of the whole state, the last one and the next. */
  readonly checkpointBytes: number
  /** Disk space that a run takes in addition to its output until it ends, and its items. */
  readonly diskBytes: number
  readonly disk: readonly Item[]
  readonly memory: number
  /** Bytes of the optimizer's moments on disk; 0 if they are in memory. */
  readonly momentBytes: number
  /** k of the teacher's top-k tokens and their bytes on disk; 0: its whole distribution. */
  readonly teacher: { readonly topK: number; readonly bytes: number }
  /** Number of the file's tensors by tensor type, e.g. `Q6_K`. */
  readonly types?: Readonly<Record<string, number>>
  /** Embedding and output matrices that do not train. */
  readonly untrained: readonly string[]
  /** Tokens of the training text, and those of them that the block-wise stage is calibrated on. */
  readonly tokens: number
  readonly calibration: number
  /** Set if those are few for the widest matrices: their inputs, the tokens needed, and seconds of the block-wise stage with them. */
  readonly few?: { readonly inputs: number; readonly tokens: number; readonly seconds: number }
  /** The text that the model writes first. */
  readonly writing: Writing & { readonly seconds: number }
  readonly stages: readonly PlannedStage[]
}

export const deviceNameOf = ({ device }: Pick<Plan, 'device'>): DeviceName => device?.name ?? 'cpu'
