/** The parts of solving a block, so that a bench can time them (bench/solve.ts). */

export type Part =
  | 'forward passes'
  | 'moments'
  | 'factors'
  | 'shared steps'
  | 'least squares'
  | 'reference codes'
  | 'scale search'
  | 'rounding'
  | 'descent'
  | 'line search and choice'

/** Runs the work of a part. Parts do not contain each other. */
export type RunPart = <T>(part: Part, work: () => Promise<T>) => Promise<T>

export const untimed: RunPart = (_part, work) => work()
