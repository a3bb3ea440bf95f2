/** Estimates for end-to-end training: the time of a step, and whether the teacher's top-k tokens are worth caching on disk. */

import { topKBytes } from '../distill/top-k.js'
import type { ModelConfig } from '../models/architecture.js'
import type { Sizes } from './memory.js'
import type { PlanOptions } from './plan-options.js'

/** Default k of the teacher's top-k tokens; LOG.md has the mass that they leave out. */
const defaultTopK = 256
/** They are cached if that saves this share of the time, and the vocabulary is this many times larger than k. */
const worthwhile = { share: 0.2, vocabulary: 8 }

/** Operations per second of an ordinary machine, for decisions that must not depend on a measurement. */
const nominalSpeed = 1e11

/** Bytes per second at which moments are read and written, mostly through the system's page cache. */
const diskSpeed = 1e9

type TrainingOptions = PlanOptions & {
  /** Bytes of moments on disk. */
  readonly momentBytes: number
}

/** Seconds of a step by component. */
interface StepSeconds {
  /** The student's forward pass, recomputation and backward pass, its head, and the optimizer. */
  readonly student: number
  /** The teacher's forward pass through the blocks, and its head. */
  readonly teacher: number
  readonly teacherHead: number
}

/**
 * @param forward seconds of a batch through the first block
 * @param speed operations per second of a product
 */
function stepSeconds(
  { vocabulary, width }: ModelConfig,
  { all, outside, first, trained, trainedHead }: Sizes,
  { batch, momentBytes }: TrainingOptions,
  forward: number,
  speed: number,
): StepSeconds {
  const blocks = forward * ((all - outside) / first)
  const head = (2 * vocabulary * width * batch) / speed
  const own = 2 * head + (2 * trainedHead * batch) / speed
  const optimizer = 30e-9 * trained + (2 * momentBytes) / diskSpeed
  return { student: 4 * blocks + own + optimizer, teacher: blocks, teacherHead: head }
}

interface TrainingPlan {
  readonly seconds: number
  readonly tokensPerSecond: number
  readonly teacher: { readonly topK: number; readonly bytes: number }
}

/** Seconds of all steps, including the teacher's work during or before them. */
export function trainingCost(
  config: ModelConfig,
  sizes: Sizes,
  options: TrainingOptions,
  forward: number,
  speed: number,
): TrainingPlan {
  const { batch, text, length, topK } = options
  const decided = topK ?? (pays(config, sizes, options) ? defaultTopK : 0)
  const step = stepSeconds(config, sizes, options, forward, speed)
  const { steps, without, kept } = runSeconds(config, options, step)
  const all = decided > 0 ? kept : without
  const timed = options.steps === undefined && options.seconds !== undefined
  return {
    seconds: timed ? (options.seconds as number) : all,
    tokensPerSecond: steps > 0 ? (steps * batch) / all : batch / total(step),
    teacher: {
      topK: decided,
      bytes: decided > 0 ? topKBytes(Math.ceil(text / length), length, decided) : 0,
    },
  }
}

const total = ({ student, teacher, teacherHead }: StepSeconds): number => student + teacher + teacherHead

/** Steps of a run and their seconds: with the whole teacher, and with its top-k tokens computed first. */
function runSeconds(
  { width }: ModelConfig,
  { batch, text, memory, steps: wanted, seconds = 0 }: TrainingOptions,
  step: StepSeconds,
): { steps: number; without: number; kept: number } {
  const { student, teacher, teacherHead } = step
  const steps = wanted ?? seconds / total(step)
  // Residual streams that are cached in memory save the teacher's blocks from the second epoch on.
  const inMemory = 4 * text * width <= teacherCacheBytes(memory)
  const epoch = Math.min(steps, text / batch)
  return {
    steps,
    without: steps * (student + teacherHead) + (inMemory ? epoch : steps) * teacher,
    kept: steps * student + (text / batch) * (teacher + teacherHead),
  }
}

/**
 * Whether the top-k tokens are worth caching. Operations are counted at a nominal speed, not a measured one, so that the same
 * command always decides the same, and a resumed run trains as it began.
 */
function pays(config: ModelConfig, sizes: Sizes, options: TrainingOptions): boolean {
  const step = stepSeconds(
    config,
    sizes,
    options,
    (2 * sizes.first * options.batch) / nominalSpeed,
    nominalSpeed,
  )
  const { without, kept } = runSeconds(config, options, step)
  return kept < (1 - worthwhile.share) * without && config.vocabulary >= worthwhile.vocabulary * defaultTopK
}

/** Bytes of the teacher's residual streams that are cached in memory. */
export const teacherCacheBytes = (memory: number): number => Math.min(256 << 20, memory / 20)
