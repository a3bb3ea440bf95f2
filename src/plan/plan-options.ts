/** The inputs of a plan. */
import type { Backend } from '../backends/backend.js'
import type { Method } from '../config/methods.js'
import type { Plan, Writing } from '../config/plan.js'
import type { BlockSeconds } from './probe.js'
import type { Adjustable } from './time-budget.js'

export interface PlanOptions {
  readonly backend: Backend
  readonly device?: Plan['device']
  /** Limit of the buffers on a GPU in bytes. Default: none. */
  readonly deviceMemory?: number | undefined
  readonly method: Method | 'auto'
  /** Memory limit of the process in bytes. */
  readonly memory: number
  /** Tokens of a step, of calibration and of the validation text. */
  readonly batch: number
  readonly calibration: number
  readonly validation: number
  /** Whether the reference quantizer makes another file with importances than without, which is validated too. Default: it does. */
  readonly weighs?: boolean
  /** Tokens for importances, and tokens that decide among the candidates of a matrix. */
  readonly importance: number
  readonly trial: number
  readonly steps: number | undefined
  readonly seconds: number | undefined
  /** Tokens of the training text. */
  readonly text: number
  /** The part of it that the model has to write. Default: nothing. */
  readonly writing?: Writing
  /** Values that may be reduced so that the run fits in `seconds`. Default: none. */
  readonly adjustable?: ReadonlySet<Adjustable>
  /** Whether the whole student is in memory, if that is decided already. Default: if it fits. */
  readonly inMemory?: boolean
  /** Tokens of a window. */
  readonly length: number
  /** k of the teacher's top-k tokens; undefined: the plan decides. */
  readonly topK: number | undefined
  /** Sets of tensors that may be left untrained, the preferred one first; without it, all tensors train. */
  readonly untrained?: readonly ReadonlySet<string>[]
  /** Times the block-wise method, with the whole student in memory or one block at a time, and with or without kept activations. */
  readonly speeds: (inMemory: boolean, keepsActivations: boolean) => Promise<BlockSeconds>
}
