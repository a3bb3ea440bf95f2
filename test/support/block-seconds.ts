/** A machine that is as fast as it is said to be, for plans. */
import type { BlockSeconds } from '../../src/plan/probe.js'

const none = { prepare: 0, forward: 0, moments: 0, rest: 0, factors: 0, rounding: 0, compiling: 0 }

/** What is not said takes no time. */
export const speedsOf = (seconds: Partial<BlockSeconds>) => async (): Promise<BlockSeconds> => ({
  ...none,
  ...seconds,
})

/** Of a small block on a slow machine. */
export const slowSpeeds = speedsOf({
  prepare: 0.1,
  forward: 0.01,
  moments: 0.02,
  rest: 0.01,
  factors: 0.01,
  rounding: 0.1,
})
