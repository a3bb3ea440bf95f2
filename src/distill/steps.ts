/**
 * The steps of end-to-end training, from the current one to the last. Progress is saved in checkpoints (checkpoint.ts); the order
 * of windows depends on seed and step alone.
 */
import { withCleanup } from '../cleanup.js'
import type { TrainOptions } from '../config/options.js'
import type { WindowOrder } from '../data/order.js'
import { QuenchError } from '../errors.js'
import {
  expectedSteps,
  isTimed,
  isValidationStep,
  planSteps,
  rateAt,
  warmupOf,
} from '../optimizer/schedule.js'
import { Checkpoints, type Progress } from '../resume/checkpoint.js'
import type { Settings } from '../resume/settings.js'
import { type KindWindows, meanOf } from '../validation/validation.js'
import type { Distillation } from './distillation.js'
import { TopKCache, type TopKOptions } from './top-k.js'

const clip = 1
const floor = 0.02

interface Steps {
  readonly distillation: Distillation
  readonly order: WindowOrder
  readonly validation: readonly KindWindows[]
  readonly options: TrainOptions
  /** Peak learning rates. */
  readonly rates: { readonly weightRate: number; readonly scaleRate: number }
  readonly settings: Settings
  /** The teacher's top-k tokens and the file where they are cached; absent: its whole distribution. */
  readonly top: (TopKOptions & { readonly path: string }) | undefined
  /** Whether the run resumed from a checkpoint, so that none has to be written first. */
  readonly resumed: boolean
  /** When the run began, by `performance.now`, shifted as if it had not been interrupted. */
  readonly began: number
}

/** Takes the remaining steps and keeps `progress` up to date. */
export async function trainSteps(steps: Steps, progress: Progress): Promise<void> {
  if (progress.step === progress.steps) return
  const { distillation, options, settings, resumed, top } = steps
  const { output, checkpointEvery } = options
  const { parameters, optimizer } = distillation
  const checkpoints = new Checkpoints(output, parameters, settings, optimizer.moments, checkpointEvery)
  await withCleanup(async (defer) => {
    defer(() => distillation.top?.close())
    defer(() => checkpoints.end())
    if (checkpoints.wanted) await checkpoints.begin(progress, resumed)
    if (top) await askTeacher(top, steps, progress)
    await loop(steps, progress, checkpoints)
  })
}

/** Computes the teacher's top-k tokens that are not cached. */
async function askTeacher(
  top: TopKOptions & { readonly path: string },
  { distillation, options }: Steps,
  progress: Progress,
): Promise<void> {
  const began = performance.now()
  const cache = await TopKCache.open(top.path, top)
  distillation.top = cache
  await cache.fill(distillation.network, distillation.teacher, (done, total) => {
    options.onProgress?.({ stage: 'teacher', done, total, tokens: total })
    if (options.signal?.aborted)
      throw new QuenchError(
        `stopped after ${done} of ${total} tokens of the teacher; the same command with --resume goes on from there`,
      )
  })
  progress.seconds += (performance.now() - began) / 1000
}

async function loop(
  { distillation, order, validation, options, rates, began: start }: Steps,
  progress: Progress,
  checkpoints: Checkpoints,
): Promise<void> {
  const perStep = distillation.network.batch.windows
  const timing: number[] = []
  while (progress.steps === undefined || progress.step < progress.steps) {
    const began = performance.now()
    const number = progress.step + 1
    const total = progress.steps
    const schedule = { steps: total ?? Number.POSITIVE_INFINITY, warmup: warmupOf(total), floor }
    const share = rateAt(schedule, number)
    const step = { weightRate: rates.weightRate * share, scaleRate: rates.scaleRate * share }
    const loss = await distillation.step(order.take((number - 1) * perStep, perStep), number, step, clip)
    if (!Number.isFinite(loss))
      throw new QuenchError(`training diverged at step ${number}; try again with a smaller --weight-rate`)
    progress.step = number
    progress.seconds += (performance.now() - began) / 1000
    timing.push((performance.now() - began) / 1000)
    progress.elapsed = (performance.now() - start) / 1000
    const planned =
      progress.steps === undefined &&
      options.seconds !== undefined &&
      isTimed(options.seconds, progress, timing)
    if (planned) progress.steps = planSteps(options.seconds ?? 0, progress, timing)
    const steps = progress.steps ?? expectedSteps(options.seconds, progress, timing)
    const tokens = steps * distillation.network.tokens
    options.onProgress?.({ stage: 'train', done: number, total: steps, tokens, loss })
    if (isValidationStep(number, progress.steps)) await validated(distillation, validation, progress)
    const stop = options.signal?.aborted ?? false
    // The last step is saved too: the disk may be too full for the output.
    const due = planned || progress.step === progress.steps || checkpoints.due
    if (stop || (checkpoints.wanted && due)) await checkpoints.save(progress)
    if (stop)
      throw new QuenchError(`stopped after step ${number}; the same command with --resume goes on from there`)
  }
}

async function validated(
  distillation: Distillation,
  text: readonly KindWindows[],
  progress: Progress,
): Promise<void> {
  progress.last = await distillation.validate(text)
  progress.curve.push({ step: progress.step, ...meanOf(progress.last) })
}
