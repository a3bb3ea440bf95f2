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
