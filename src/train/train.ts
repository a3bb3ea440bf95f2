/**
 * `quench train`: quantization-aware training of a GGUF file.
 *
 *   open the model -> plan by memory and time -> text -> quantize with the reference quantizer (step 0 is PTQ) -> solve block
 *   by block for a better start (blockwise.ts) -> train end to end by distillation, all weights or only scales -> write the codes
 *   of the training graph, checked by libggml
 */

import { withCleanup } from '../cleanup.js'
import { checkOptions, type TrainOptions } from '../config/options.js'
import type { Plan } from '../config/plan.js'
import { Network } from '../engine/network.js'
import { UsageError } from '../errors.js'
import { checkReadable } from '../files.js'
import { gigabytes } from '../format.js'
import { memoryBudget, reachableMemory } from '../memory.js'
import { ParameterPrograms } from '../optimizer/parameter.js'
import { sizesOf } from '../plan/memory.js'
import { methodWithin, planRun } from '../plan/plan.js'
import type { PlanOptions } from '../plan/plan-options.js'
import { sampleBlock } from '../plan/probe.js'
import type { Adjustable } from '../plan/time-budget.js'
import { checkDisk, holdsWork, keepsState, resumable } from '../resume/disk.js'
import { withRun } from '../resume/leftovers.js'
import { goingOn, saveDecisions } from '../resume/resolve-resume.js'
import { checkSource, checkTrainable, openSource, type Source, targetTypes } from '../student/source.js'
import { untrainedSets } from '../student/untrained.js'
import { runText, textOptions, textTokens } from '../training-text/run-text.js'
import { readText, writingOf } from '../training-text/text.js'
import { RunContext } from './context.js'
import { defaultSteps } from './in-memory.js'
import type { TrainReport } from './report.js'
import { runTraining } from './run.js'

/** @throws UsageError, FileError or QuenchError of one sentence */
export async function train(asked: TrainOptions): Promise<TrainReport> {
  const began = performance.now()
  checkOptions(asked)
  checkTrainable(asked.type)
  return withRun(asked, (options) => trainTo(options, began))
}

async function trainTo(asked: TrainOptions, began: number): Promise<TrainReport> {
  for (const path of asked.data ?? []) await checkReadable(path)
  const { options, decided } = await goingOn(asked)
  const memory = options.memory ?? memoryBudget()
  const source = await openSource(options.input)
  const programs = new ParameterPrograms()
  return withCleanup(async (defer) => {
    defer(() => source.gguf.close())
    defer(() => programs.dispose())
    const warning = await checkSource(source, options.type)
    if (warning !== undefined) options.onWarning?.(warning)
    const network = new Network(source.architecture, source.config, batchOf(source, options))
    defer(() => network.dispose())
    const types = targetTypes(source, options.type)
    const { vocabulary } = source.config
    if ((options.teacherTopK ?? 0) >= vocabulary)
      throw new UsageError(
        `--teacher-top-k ${options.teacherTopK} is not less than the model's ${vocabulary} tokens`,
      )
    const wanted = textOptions(source, network, options, memory)
    const read = await readText(options.input, wanted)
    const tokens = textTokens(read, network, wanted, options.calibration)
    const planned: PlanOptions = {
      method: options.method ?? 'auto',
      memory,
      batch: network.tokens,
      calibration: tokens.calibration,
      importance: tokens.importance,
      trial: tokens.trial,
      validation: tokens.validation,
      steps: options.steps ?? (options.seconds === undefined ? defaultSteps : undefined),
      seconds: options.seconds,
      text: tokens.train,
      writing: await writingOf(options.input, wanted, read),
      adjustable: adjustable(options),
      length: network.batch.length,
      topK: options.teacherTopK,
      ...(decided && { whole: decided.whole }),
      untrained:
        decided && (options.embeddings ?? 'auto') === 'auto'
          ? [decided.untrained]
          : untrainedSets(source, types, options.embeddings ?? 'auto'),
      speeds: (whole) => {
        network.keepsMemory = whole
        source.weights.most = whole ? Number.POSITIVE_INFINITY : 4 * sizesOf(source).block
        return sampleBlock(source, network, programs, types, tokens.trial, (done, total) => {
          options.signal?.throwIfAborted()
          options.onProgress?.({ stage: 'measure', done, total, tokens: total })
        })
      },
    }
    const plan = await planRun(source, planned)
    await checkDisk(options.output, plan, source, types, (disk) => methodWithin(disk, source, planned, plan))
    options.onPlan?.(plan)
    warnOfMemory(plan, options)
    const settled = {
      ...options,
      tokens: plan.tokens < tokens.train ? plan.tokens : wanted.tokens,
      calibration: plan.calibration,
    }
    return await resumable(options, async () => {
      if (keepsState(options) && !holdsWork(options.output))
        await saveDecisions(options.output, {
          method: plan.method,
          whole: plan.whole,
          untrained: plan.untrained.join(' '),
          tokens: settled.tokens,
          calibration: plan.calibration,
          teacherTopK: plan.teacher.topK,
        })
      const written = textOptions(source, network, settled, memory)
      const text = await runText(options.input, network, written, read, plan.calibration)
      return runTraining(new RunContext(source, settled, plan, network, programs, text, began))
    })
  })
}

/** What was not asked for in so many words. */
function adjustable({ tokens, calibration }: TrainOptions): Set<Adjustable> {
  const set = new Set<Adjustable>()
  if (tokens === undefined) set.add('tokens')
  if (calibration === undefined) set.add('calibration')
  return set
}

/** Free memory decides nothing, so that the same command makes the same file on a busy machine. */
function warnOfMemory({ stages }: Plan, { onWarning }: TrainOptions): void {
  const [needed, reachable] = [Math.max(...stages.map(({ bytes }) => bytes)), reachableMemory()]
  if (needed > reachable)
    onWarning?.(
      `training takes about ${gigabytes(needed)} of memory and ${gigabytes(reachable)} are free; end other programs, or allow less with --memory`,
    )
}

function batchOf(
  { config }: Source,
  { context, batch = 512 }: TrainOptions,
): { windows: number; length: number } {
  const length = context ?? Math.min(128, config.context)
  if (!Number.isInteger(length) || length < 8 || length > config.context)
    throw new UsageError(`--context ${length} is not from 8 to the model's ${config.context} tokens`)
  return { windows: Math.max(1, Math.round(batch / length)), length }
}
