/** Learning-rate schedule: linear warm-up, then half a cosine down to a small floor (arXiv 1608.03983). */

export interface Schedule {
  readonly steps: number
  readonly warmup: number
  /** Rate of the last step as a share of the peak. */
  readonly floor: number
}

/** Rate at a step, counted from 1, as a share of the peak. */
export function rateAt({ steps, warmup, floor }: Schedule, step: number): number {
  if (step <= warmup) return step / warmup
  const progress = Math.min(1, (step - warmup) / Math.max(1, steps - warmup))
  return floor + (1 - floor) * 0.5 * (1 + Math.cos(Math.PI * progress))
}

/** Steps of warm-up; `steps` is undefined as long as the number of steps is not set. */
export const warmupOf = (steps: number | undefined): number =>
  steps === undefined ? defaultWarmup : Math.max(1, Math.min(defaultWarmup, Math.ceil(steps / 4)))
const defaultWarmup = 10

/** The progress of a run. */
interface Clock {
  /** Steps done. */
  readonly step: number
  /** Seconds since the run began. */
  readonly elapsed: number
  /** Seconds of a validation. */
  readonly validating: number
}

/** Fewest steps to time, and the least share of the time for steps that they have to take. */
const leastTimed = 4
const timedShare = 0.1

/** Whether enough steps were timed to plan how many fit in `seconds`: other load on the machine may slow down a few of them. */
export function isTimed(seconds: number, { elapsed }: Clock, timing: readonly number[]): boolean {
  const spent = timing.reduce((a, b) => a + b, 0)
  return timing.length >= leastTimed && spent >= timedShare * (seconds - (elapsed - spent))
}

/**
 * Total number of steps that fit in `seconds`, from the seconds of the steps so far, `timing`; the first compiles programs and is
 * ignored. Time for validations is set aside.
 */
export function planSteps(
  seconds: number,
  { step, elapsed, validating }: Clock,
  timing: readonly number[],
): number {
  const counted = timing.length > 1 ? timing.slice(1) : timing
  const usual = counted.reduce((a, b) => a + b, 0) / counted.length
  const left = seconds - elapsed - validations * validating
  return step + Math.max(0, Math.floor(left / usual))
}

/** Steps to report as long as their number is not planned: as many as fit by what was timed so far, and one more than were done. */
export const expectedSteps = (seconds: number | undefined, clock: Clock, timing: readonly number[]): number =>
  Math.max(clock.step + 1, seconds === undefined ? 0 : planSteps(seconds, clock, timing))

/** Number of validations in a run, including the one after the last step. */
export const validations = 4

/** Whether validation is due after a step. */
export const isValidationStep = (step: number, steps: number | undefined): boolean =>
  steps !== undefined &&
  (step === steps ||
    Math.floor((step * validations) / steps) > Math.floor(((step - 1) * validations) / steps))
