/**
 * A training run from the text to the file. What a stage has made stays only where it is better than before it on text of several kinds
 * that is from other sources than what it was made from; and before the first stage there is the better of the reference quantizer's
 * files, with and without importances. Where no stage helps, that is written and the report says so. Finished blocks and, every now and
 * then, the whole state are saved, and a resumed run ends with the same file: the order of windows depends on seed and step alone.
 */
import { rm } from 'node:fs/promises'
import { withCleanup } from '../cleanup.js'
import { BlocksOnDisk } from '../resume/blocks-on-disk.js'
import { removeCheckpoint } from '../resume/checkpoint.js'
import { blocksFolder, keepsState } from '../resume/disk.js'
import type { Validated } from '../validation/opponent.js'
import { beatsStock, isBetter, meanOf } from '../validation/validation.js'
import type { RunContext } from './context.js'
import { InMemory } from './in-memory.js'
import { OneBlock } from './one-block.js'
import type { TrainReport } from './report.js'
import type { Stage, StageResult, State } from './stages.js'
import { writeResult } from './write.js'

export async function runTraining(run: RunContext): Promise<TrainReport> {
  const { options, plan, settings } = run
  const folder = blocksFolder(options.output)
  return withCleanup(async (defer) => {
    if (!keepsState(options)) defer(() => rm(folder, { recursive: true, force: true }))
    const disk = new BlocksOnDisk(folder, settings)
    defer(() => disk.close())
    const state = plan.inMemory ? await InMemory.open({ run, disk }) : new OneBlock({ run, disk })
    await state.prepare()
    for (const stage of state.stages) {
      const result = await stage.run()
      if (result) await keepIfBetter(state, stage, result)
    }
    const report = await writeResult(run, state)
    await disk.remove()
    await removeCheckpoint(options.output)
    return report
  })
}

/** Leaves what a stage has made where it is better than what there was, and takes it back otherwise. */
async function keepIfBetter(state: State, { name }: Stage, result: StageResult): Promise<void> {
  const { progress } = state
  const { seconds, divergence } = result
  const { kept, ...stock } = progress.validated as Validated
  const beats = beatsStock(stock.plain, divergence) && beatsStock(stock.weighed, divergence)
  // Where the finished blocks are gone by then, what was trained stays if it is at least better than stock.
  const taken = kept ? isBetter(kept, divergence) || (beats && !state.holdsBlocks()) : beats
  const stages = progress.stages ?? []
  const report = { stage: name, seconds, kld: meanOf(divergence), taken }
  if (taken) {
    progress.stages = [...stages, report]
    progress.validated = { ...stock, kept: divergence }
  } else if (kept && (await state.restore('blocks'))) {
    progress.stages = [...stages, report]
  } else {
    await state.restore('stock')
    progress.stages = [...stages.map((stage) => ({ ...stage, taken: false })), report]
    progress.validated = { ...stock, kept: undefined }
  }
}
