/** The stages of a run, and the student as they leave it: in memory, or one block at a time. */
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
  /** Does the work and validates; undefined where there is nothing to do. `progress.validated` is known afterwards. */
  run(): Promise<StageResult | undefined>
}

export interface State {
  /** Kept current; a resumed run has that of its checkpoint. */
  readonly progress: Progress
  /** The stages that are left, in their order. */
  readonly stages: readonly Stage[]
  /** Validates what the reference quantizer makes, where that is not known yet. */
  prepare(): Promise<void>
  /** Whether the result of the block-wise stage can be had again. */
  holdsBlocks(): boolean
  /** Takes back what was done since: to the block-wise solution, false where that is lost, or to the better stock file. */
  restore(to: 'blocks' | 'stock'): Promise<boolean>
  /** What goes into the file. */
  tensors(): TrainedTensors
}

/** Seconds of the block-wise stage. */
export const solvingSeconds = ({ stages = [] }: Pick<Progress, 'stages'>): number =>
  stages.find(({ stage }) => stage === blockwise)?.seconds ?? 0
