/** Speed and memory of files as llama.cpp runs them. */
export {
  type Bench,
  type BenchOptions,
  benchFiles,
  type FileSpeed,
  type Machine,
  speedTests,
  summarizeRounds,
  type TestSpeed,
  thisMachine,
} from './bench.js'
export { type Round, roundTokens, runRound, type SpeedTest } from './round.js'
export type { Speculation } from './speculate.js'
export type { Spread } from './spread.js'
