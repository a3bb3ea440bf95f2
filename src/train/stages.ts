/** The stages of a run, and the state that they change: in memory, or one block at a time. */
import { blockwise } from '../config/methods.js'
import type { StageReport } from '../config/options.js'
import type { Progress } from '../resume/checkpoint.js'
import type { TrainedTensors } from '../student/export.js'
import type { Divergence } from '../validation/validation.js'

export interface StageResult {
  readonly seconds: number
  readonly divergence: Divergence
}

export interface Stage {
  readonly name: StageReport['stage']
  /** Does the work and validates; undefined if there is nothing to do. Sets `progress.validated` if `prepare` did not. */
  run(): Promise<StageResult | undefined>
}

export interface State {
  /** Kept up to date; a resumed run starts with its checkpoint's. */
  readonly progress: Progress
  /** The remaining stages, in order. */
  readonly stages: readonly Stage[]
  /** Validates the reference quantizer's files, unless a stage or an earlier run does. */
  prepare(): Promise<void>
  /** Whether the result of the block-wise stage can be restored. */
  holdsBlocks(): boolean
  /** Restores the block-wise solution or the better stock file. Returns false if the block-wise solution is lost. */
  restore(to: 'blocks' | 'stock'): Promise<boolean>
  /** The tensors to export. */
  tensors(): TrainedTensors
}

/** Seconds of the block-wise stage. */
export const solvingSeconds = ({ stages = [] }: Pick<Progress, 'stages'>): number =>
  stages.find(({ stage }) => stage === blockwise)?.seconds ?? 0
