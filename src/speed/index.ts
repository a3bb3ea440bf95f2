/** Speed and memory of files as llama.cpp runs them. */
export { type Bench, type BenchOptions, benchFiles, type FileSpeed, type TestSpeed } from './bench.js'
export type { Speculation } from './speculate.js'
export type { Spread } from './spread.js'
