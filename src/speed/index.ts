/** Speed and memory use of files run by llama.cpp. */
export {
  type Bench,
  type BenchOptions,
  benchFiles,
  type FileSpeed,
  type MeasuringMachine,
  measuringMachine,
  speedTests,
  summarizeRounds,
  type TestSpeed,
  thisMachine,
} from './bench.js'
export { type Round, roundTokens, runRound, type SpeedTest } from './round.js'
export type { Speculation } from './speculate.js'
export { type Spread, spreadOf } from './spread.js'
