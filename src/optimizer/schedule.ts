/** Learning-rate schedule: linear warm-up, then half a cosine down to a small rest (arXiv 1608.03983). */

export interface Schedule {
  readonly steps: number
  readonly warmup: number
  /** Rate of the last step as a share of the highest. */
  readonly floor: number
}

/** Share of the highest rate at a step, 1 for the first. */
export function rateAt({ steps, warmup, floor }: Schedule, step: number): number {
  if (step <= warmup) return step / warmup
  const progress = Math.min(1, (step - warmup) / Math.max(1, steps - warmup))
  return floor + (1 - floor) * 0.5 * (1 + Math.cos(Math.PI * progress))
}

/** Steps of warm-up; `steps` is undefined while a run does not know yet how many it has. */
export const warmupOf = (steps: number | undefined): number =>
  steps === undefined ? defaultWarmup : Math.max(1, Math.min(defaultWarmup, Math.ceil(steps / 4)))
const defaultWarmup = 10

/** How far a run is, in seconds. */
interface Clock {
  /** Steps done. */
  readonly step: number
  /** Seconds since it began. */
  readonly elapsed: number
  /** Seconds of a validation. */
  readonly validating: number
}

/** Steps that have to be timed, and the share of the time that is left for steps which they have to take. */
const leastTimed = 4
const timedShare = 0.1

/** Whether enough steps were timed to say how many fit in `seconds`: other work on the machine may slow down a few of them. */
export function isTimed(seconds: number, { elapsed }: Clock, timing: readonly number[]): boolean {
  const spent = timing.reduce((a, b) => a + b, 0)
  return timing.length >= leastTimed && spent >= timedShare * (seconds - (elapsed - spent))
}

/**
 * Steps in all that fit in `seconds`, after steps that took `timing` seconds each; the first compiles programs and does not count.
 * What validations take is left for them.
 */
export function planSteps(
  seconds: number,
  { step, elapsed, validating }: Clock,
  timing: readonly number[],
): number {
  const usual = timing.slice(1).reduce((a, b) => a + b, 0) / (timing.length - 1)
  const left = seconds - elapsed - validations * validating
  return step + Math.max(0, Math.floor(left / usual))
}

/** How often a run is validated, the last step included. */
export const validations = 4

/** Whether the held-out text is due after a step. */
export const isValidationStep = (step: number, steps: number | undefined): boolean =>
  steps !== undefined &&
  (step === steps ||
    Math.floor((step * validations) / steps) > Math.floor(((step - 1) * validations) / steps))
