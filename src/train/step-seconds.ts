/** Estimates for training end to end: how long a step takes, and whether the teacher's answers are worth keeping on disk. */
import type { ModelConfig } from '../models/architecture.js'
import type { PlanOptions, Sizes } from './plan.js'
import { topTokenBytes } from './top-tokens.js'

/** The teacher's likeliest tokens that are kept where nothing else is asked for; what they leave out is in LOG.md. */
const defaultTopK = 256
/** They are kept where that saves so much of the time, of vocabularies so many times as large. */
const worthwhile = { share: 0.2, vocabulary: 8 }

/** Bytes a second at which moments are read and written again, most of them from the system's cache of files. */
const diskSpeed = 1e9

type TrainingOptions = PlanOptions & {
  /** Bytes of moments on disk. */
  readonly momentBytes: number
}

/** Seconds of a step by what does the work. */
interface StepSeconds {
  /** The student forward, once more and backward, its head, and passes over what trains. */
  readonly student: number
  /** The teacher through the blocks, and its head. */
  readonly teacher: number
  readonly teacherHead: number
}

/**
 * @param forward seconds of a batch through the first block
 * @param speed operations a second of a product
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

/** Seconds of all steps, with what the teacher takes besides or before them. */
export function planTraining(
  config: ModelConfig,
  sizes: Sizes,
  options: TrainingOptions,
  forward: number,
  speed: number,
): TrainingPlan {
  const { batch, text, length, topK } = options
  const step = stepSeconds(config, sizes, options, forward, speed)
  const { student, teacher, teacherHead } = step
  const whole = student + teacher + teacherHead
  const timed = options.steps === undefined && options.seconds !== undefined
  const steps = options.steps ?? (options.seconds ?? 0) / whole
  const epoch = Math.min(steps, text / batch)
  // Streams that are kept in memory spare the teacher's blocks from the second epoch on.
  const kept = 4 * text * config.width <= teacherCacheBytes(options.memory)
  const without = steps * (student + teacherHead) + (kept ? epoch : steps) * teacher
  const before = (text / batch) * (teacher + teacherHead)
  const pays =
    steps * student + before < (1 - worthwhile.share) * without &&
    config.vocabulary >= worthwhile.vocabulary * defaultTopK
  const k = topK ?? (pays ? defaultTopK : 0)
  const all = k > 0 ? steps * student + before : without
  const seconds = timed ? (options.seconds as number) : all
  return {
    seconds,
    tokensPerSecond: steps > 0 ? (steps * batch) / all : batch / whole,
    teacher: { topK: k, bytes: k > 0 ? topTokenBytes(Math.ceil(text / length), length, k) : 0 },
  }
}

/** Bytes of the teacher's residual streams that are kept in memory. */
export const teacherCacheBytes = (memory: number): number => Math.min(256 << 20, memory / 20)
