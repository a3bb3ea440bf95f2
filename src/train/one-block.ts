/** A run with one block in memory at a time: solved blocks are saved on disk, and the export reads them from there. */

import { solveOneBlockAtATime } from '../blockwise/blockwise.js'
import { blockwise } from '../config/methods.js'
import type { Progress } from '../resume/checkpoint.js'
import { hiddenStatesFolder } from '../resume/disk.js'
import type { TrainedTensors } from '../student/export.js'
import { inBatches } from '../training-text/run-text.js'
import { opponentOf } from '../validation/opponent.js'
import { meanOf } from '../validation/validation.js'
import type { RunContext } from './context.js'
import type { StageResult, State } from './stages.js'

export class OneBlock implements State {
  readonly progress: Progress = { step: 0, steps: 0, seconds: 0, elapsed: 0, validating: 0, curve: [] }
  readonly stages = [{ name: blockwise, run: () => this.solve() }] as const

  constructor(private readonly run: RunContext) {}

  /** The stock files are validated during the block-wise stage. */
  async prepare(): Promise<void> {}

  private async solve(): Promise<StageResult> {
    const { run } = this
    const { disk, source, teacher, network, types, check, text, plan, options } = run
    const began = performance.now()
    const { plain, weighed, solved } = await solveOneBlockAtATime({
      source,
      teacher,
      network,
      types,
      importance: await run.importance(),
      disk,
      check,
      batches: inBatches(text.calibration, network.batch),
      trial: run.trial,
      keeps: plan.keepsActivations,
      validation: text.validation,
      // The validation text passes through each block as it is solved.
      pace: run.pace(0),
      onCut: run.onCut,
      spill: plan.spillBytes > 0 ? hiddenStatesFolder(options.output) : undefined,
      onProgress: run.onBlock,
      onSolved: run.onSolved,
    })
    const seconds = (performance.now() - began) / 1000
    this.progress.seconds = seconds
    this.progress.curve.push({ step: 0, ...meanOf(plain) })
    this.progress.validated = { plain, weighed, opponent: opponentOf(plain, weighed), kept: undefined }
    return { seconds, divergence: solved }
  }

  holdsBlocks(): boolean {
    return true
  }

  /** The reference quantizer's tensors are made by the export. */
  async restore(to: 'blocks' | 'stock'): Promise<boolean> {
    return to === 'stock'
  }

  tensors(): TrainedTensors {
    return async (name) => {
      const layer = /^blk\.(\d+)\./.exec(name)?.[1]
      return layer === undefined ? undefined : this.run.disk.bytes(`block-${layer}`, name)
    }
  }
}
