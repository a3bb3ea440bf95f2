/**
 * `quench train`: quantization-aware training of a GGUF file.
 *
 *   open the model -> plan by memory and time -> text -> quantize with the reference quantizer (step 0 is PTQ) -> solve block
 *   by block for a better start (blockwise.ts) -> train end to end by distillation, all weights or only scales -> write the
 *   trained codes, checked by libggml
 */

import { type Release, withCleanup } from '../cleanup.js'
import type { TrainOptions } from '../config/options.js'
import { deviceNameOf, type Plan } from '../config/plan.js'
import { checkOptions } from '../config/table.js'
import { gigabytes } from '../format.js'
import { reachableMemory } from '../memory.js'
import { holdsWork, keepsState, resumable } from '../resume/disk.js'
import { checkRun, withRun } from '../resume/leftovers.js'
import { type Decisions, saveDecisions } from '../resume/resolve-resume.js'
import { checkTrainable } from '../student/source.js'
import { runText, textOptions } from '../training-text/run-text.js'
import { countsOf, type TextOptions, writeWithin } from '../training-text/text.js'
import { RunContext } from './context.js'
import { type Prepared, prepare } from './prepare.js'
import type { TrainReport } from './report.js'
import { runTraining } from './run.js'

/** @throws UsageError, FileError or QuenchError of one sentence */
export async function train(asked: TrainOptions): Promise<TrainReport> {
  const began = performance.now()
  checkOptions(asked)
  checkTrainable(asked)
  return withRun(asked, (options) => withCleanup((defer) => trainTo(options, began, defer)))
}

/** Plans a run with these options. Nothing is written. @throws as `train` does */
export async function planTraining(asked: TrainOptions): Promise<Plan> {
  checkOptions(asked)
  checkTrainable(asked)
  await checkRun(asked)
  return withCleanup(async (defer) => (await prepare(asked, defer)).plan)
}

async function trainTo(
  given: TrainOptions,
  began: number,
  defer: (release: Release) => void,
): Promise<TrainReport> {
  const prepared = await prepare(given, defer)
  const { options, source, network, read, wanted, tokens, plan } = prepared
  options.onPlan?.(plan)
  warnOfMemory(plan, options)
  const settled = {
    ...options,
    tokens: plan.tokens < tokens ? plan.tokens : wanted.tokens,
    calibration: plan.calibration,
  }
  return await resumable(options, async () => {
    const save = async (written?: number): Promise<void> => {
      const decisions = decisionsOf(plan, settled.tokens)
      if (keepsState(options) && !holdsWork(options.output))
        await saveDecisions(
          options.output,
          { ...decisions, ...(written !== undefined && { written }) },
          prepared.settings,
        )
    }
    await save(wanted.mostWritten)
    let asked = textOptions(source, network.batch.length, settled, plan.memory, wanted.mostWritten)
    const written = await writtenInTime(prepared, asked)
    if (written !== undefined) {
      await save(written)
      asked = { ...asked, mostWritten: written }
    }
    const text = await runText(options.input, network, asked, read, plan.calibration)
    return runTraining(new RunContext(prepared, settled, text, began))
  })
}

/** Share of the time that writing may take where the plan expected less; estimates of its speed are rough. */
const writingShare = 0.1

/** Windows that the model has written, if time did not suffice for all. A run that has solved blocks takes the whole text again. */
async function writtenInTime(
  { options, read, plan }: Prepared,
  text: TextOptions,
): Promise<number | undefined> {
  if (options.seconds === undefined || holdsWork(options.output)) return undefined
  const all = countsOf(read, text).selfWritten
  const seconds = Math.max(plan.writing.seconds, writingShare * options.seconds)
  const written = await writeWithin(options.input, text, read, seconds)
  if (written >= all) return undefined
  options.onWarning?.(
    `the model had time to write ${count(written * text.length)} of ${count(all * text.length)} tokens; general text replaces the rest as far as there is more`,
  )
  return written
}

const count = (tokens: number): string => tokens.toLocaleString('en-US')

const decisionsOf = (plan: Plan, tokens: number): Decisions => ({
  method: plan.method,
  device: deviceNameOf(plan),
  inMemory: plan.inMemory,
  untrained: plan.untrained.join(' '),
  tokens,
  calibration: plan.calibration,
  teacherTopK: plan.teacher.topK,
})

/** Low free memory is only a warning, so that the same command makes the same file on a busy machine. */
function warnOfMemory({ stages }: Plan, { onWarning }: TrainOptions): void {
  const [needed, reachable] = [Math.max(...stages.map(({ bytes }) => bytes)), reachableMemory()]
  if (needed > reachable)
    onWarning?.(
      `training takes about ${gigabytes(needed)} of memory and ${gigabytes(reachable)} are free; end other programs, or allow less with --memory`,
    )
}
