/**
 * A training run, from text to file. A stage's result is kept only if it lowers validation loss on several kinds of text, from sources
 * that training does not use. The first stage has to beat both of the reference quantizer's files, with and without importances. If no
 * stage helps, the better of them is written and the report says so. Finished blocks and periodic checkpoints are saved, and a resumed
 * run ends with the same file: the order of windows depends on seed and step alone.
 */
import { rm } from 'node:fs/promises'
import { withCleanup } from '../cleanup.js'
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
  const { options, plan } = run
  const folder = blocksFolder(options.output)
  return withCleanup(async (defer) => {
    if (!keepsState(options)) defer(() => rm(folder, { recursive: true, force: true }))
    const { disk, provenance } = run
    defer(() => disk.close())
    provenance.begin()
    defer(() => provenance.stop())
    const state = plan.inMemory ? await InMemory.open(run) : new OneBlock(run)
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

/** Keeps a stage's result if it is better than the state before it; otherwise restores that state. */
async function keepIfBetter(state: State, { name }: Stage, result: StageResult): Promise<void> {
  const { progress } = state
  const { seconds, divergence } = result
  const { kept, ...stock } = progress.validated as Validated
  const beats = beatsStock(stock.plain, divergence) && beatsStock(stock.weighed, divergence)
  // If the finished blocks are lost, the trained result is kept as long as it beats stock.
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
