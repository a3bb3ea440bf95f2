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

/**
 * Steps in all that fit in `seconds`, after `done` steps in `spent` seconds that took `timing` seconds each; the first
 * compiles programs and does not count.
 */
export function planSteps(seconds: number, done: number, spent: number, timing: readonly number[]): number {
  const usual = timing.slice(1).reduce((a, b) => a + b, 0) / (timing.length - 1)
  return done + Math.max(0, Math.floor((seconds - spent) / usual))
}

/** How often a run is validated, the last step included. */
const validations = 4

/** Whether the held-out text is due after a step. */
export const isValidationStep = (step: number, steps: number | undefined): boolean =>
  steps !== undefined &&
  (step === steps ||
    Math.floor((step * validations) / steps) > Math.floor(((step - 1) * validations) / steps))
