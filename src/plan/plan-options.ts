/** What a run is planned from. */
import type { Backend } from '../backends/backend.js'
import type { Method } from '../config/methods.js'
import type { Writing } from '../config/plan.js'
import type { BlockSeconds } from './probe.js'
import type { Adjustable } from './time-budget.js'

export interface PlanOptions {
  readonly backend: Backend
  readonly method: Method | 'auto'
  /** Bytes that the process may take. */
  readonly memory: number
  /** Tokens of a step, of the block-wise start and of the validation text. */
  readonly batch: number
  readonly calibration: number
  readonly validation: number
  /** Tokens that importances are computed from, and those that decide among the candidates of a matrix. */
  readonly importance: number
  readonly trial: number
  readonly steps: number | undefined
  readonly seconds: number | undefined
  /** Tokens of the training text, and of a window of it. */
  readonly text: number
  /** What is to be written of it. Default: nothing. */
  readonly writing?: Writing
  /** What may be less so that the run fits in `seconds`. Default: nothing. */
  readonly adjustable?: ReadonlySet<Adjustable>
  /** Whether the whole student is in memory, where that is decided; otherwise it is if it fits. */
  readonly inMemory?: boolean
  readonly length: number
  /** k of the teacher's top-k tokens; undefined: to be decided. */
  readonly topK: number | undefined
  /** Sets of tensors that may be left untrained, the one to be preferred first; without it all tensors train. */
  readonly untrained?: readonly ReadonlySet<string>[]
  /** How fast the block-wise method is here, with the whole student in memory or one block at a time, and with or without kept activations. */
  readonly speeds: (inMemory: boolean, keepsActivations: boolean) => Promise<BlockSeconds>
}
