/**
 * `quench bench`: load time, prompt and generation speed, and memory of files.
 *
 * Runs are interleaved, A B A B, so that a machine that gets hot or busy affects all files alike. Ratios to the first file are
 * taken within each round and then summarized, so that the machine's load cancels.
 */
import { cpus, totalmem } from 'node:os'
import { UsageError } from '../errors.js'
import { inspectFile } from '../gguf/inspect.js'
import { checkLoads, hasGpu, llamaVersion, PACKAGE_VERSION, tryEarly } from '../llama/index.js'
import { type ProgressEvent, warn } from '../notices.js'
import { checkNumbers, checkOptionNames, threadRange, whole } from '../option-checks.js'
import { machineThreads, threadsForModel } from '../threads.js'
import type { MemoryUse } from './memory.js'
import { type Round, type RoundOptions, roundTokens, runRound, type SpeedTest } from './round.js'
import {
  checkDraft,
  type Speculation,
  type SpeculationRound,
  speculationRound,
  summarizeSpeculation,
} from './speculate.js'
import { type Spread, spreadOf } from './spread.js'

export interface BenchOptions {
  readonly files: readonly string[]
  /** Prompt lengths in tokens. Default 512. */
  readonly prompt?: readonly number[]
  /** Tokens to generate. Default 64. */
  readonly generate?: readonly number[]
  /** Context depth in tokens. Default 0. */
  readonly depth?: readonly number[]
  /** Rounds per file. Default 5. */
  readonly repetitions?: number
  readonly threads?: number
  readonly kvType?: string
  readonly gpuLayers?: number
  /** A smaller draft model of the same vocabulary, for speculative decoding with each file. */
  readonly draft?: string
  /** Tokens drafted at once. Default 4. */
  readonly guesses?: number
  /** Texts to continue with the draft. Default: the beginnings of a few sentences. */
  readonly prompts?: readonly string[]
  /** Called with the tokens run so far, over all files. */
  readonly onProgress?: (event: ProgressEvent) => void
  readonly signal?: AbortSignal
}

export interface TestSpeed extends SpeedTest {
  readonly tokensPerSecond: Spread
  /** Speed relative to the first file in the same round. */
  readonly relative: Spread
}

export interface FileSpeed {
  readonly path: string
  readonly type: string
  readonly bytes: number
  readonly bitsPerWeight: number
  /** That it ran with. */
  readonly threads: number
  readonly loadMs: Spread
  readonly memory: MemoryUse
  readonly tests: readonly TestSpeed[]
  /** Generation speed at the smallest depth / file size in gigabytes (1e9 bytes). */
  readonly tokensPerSecondPerGigabyte?: number
  readonly draft?: Speculation
}

export interface Machine {
  readonly cpu: string
  /** Hardware threads. */
  readonly cores: number
  readonly memoryBytes: number
  readonly platform: string
  /** Release of the llama.cpp packages. */
  readonly llama: string
}

/** With the version of llama.cpp, which only the loaded libraries tell. */
export interface MeasuringMachine extends Machine {
  readonly llamaVersion: string
}

export interface Bench {
  readonly machine: MeasuringMachine
  readonly settings: {
    readonly repetitions: number
    /** Null: by the size of each model. */
    readonly threads: number | null
    readonly kvType: string
    readonly gpuLayers: number
  }
  readonly files: readonly FileSpeed[]
}

const ordinaryPrompts = [
  'The ship had been at sea for three weeks when',
  'The people of the United States have always',
  'A good way to learn how something works is',
  'In the beginning of the year the government',
]

/** @throws FileError for a file that cannot be loaded, UsageError for lengths that define no test */
export async function benchFiles(options: BenchOptions): Promise<Bench> {
  const {
    files,
    draft,
    threads,
    kvType = 'f16',
    gpuLayers = 0,
    repetitions = 5,
    signal,
    onProgress,
  } = options
  checkOptionNames(options, {
    files: true,
    prompt: true,
    generate: true,
    depth: true,
    repetitions: true,
    threads: true,
    kvType: true,
    gpuLayers: true,
    draft: true,
    guesses: true,
    prompts: true,
    onProgress: true,
    signal: true,
  })
  const length = whole(0, 2 ** 24)
  checkNumbers(options, {
    prompt: length,
    generate: length,
    depth: length,
    repetitions: whole(1),
    threads: threadRange,
    gpuLayers: whole(-1),
    guesses: whole(1),
  })
  if (files.length === 0) throw new UsageError('there is no file to measure')
  const tests = speedTests(options)
  tryEarly(files, 'run')
  const inspected = await Promise.all(files.map((file) => factsOf(file, threads)))
  const longest = Math.max(...tests.map(({ tokens, depth }) => tokens + depth))
  for (const { facts, context = longest } of inspected)
    if (context < longest)
      warn(
        `${facts.path}: the model's context is ${context} tokens, and a test takes ${longest}; its speed is measured, but a text of that length is beyond what the model was trained for`,
      )
  for (const file of files) await checkLoads(file, 'run') // before any work on the others
  if (draft !== undefined) for (const file of files) await checkDraft(file, draft)
  const tokens = Math.max(2, ...(options.generate ?? [64]))
  const speculate = {
    guesses: options.guesses ?? 4,
    prompts: options.prompts ?? ordinaryPrompts,
    length: tokens,
  }
  const drafted = draft === undefined ? 0 : 2 * tokens * speculate.prompts.length
  const total = files.length * repetitions * (roundTokens(tests) + drafted)
  let done = 0
  const shared: Omit<RoundOptions, 'tests'> = {
    kvType,
    gpuLayers,
    ...(threads !== undefined && { threads }),
    ...(signal && { signal }),
    onTokens: (tokens) => {
      done += tokens
      onProgress?.({ stage: 'bench', done, total })
    },
  }
  const rounds: Round[][] = files.map(() => [])
  const speculations: SpeculationRound[][] = files.map(() => [])
  for (let turn = 0; turn < repetitions; turn++) {
    for (const [i, file] of files.entries()) {
      rounds[i].push(await runRound(file, { tests, ...shared }))
      if (draft !== undefined)
        speculations[i].push(await speculationRound(file, { draft, ...speculate, ...shared }))
    }
  }
  return {
    machine: measuringMachine(),
    settings: { repetitions, threads: threads ?? null, kvType, gpuLayers: hasGpu() ? gpuLayers : 0 },
    files: inspected.map(({ facts }, i) => ({
      ...summarizeRounds(facts, tests, rounds[i], rounds[0]),
      ...(draft !== undefined && { draft: summarizeSpeculation({ draft, ...speculate }, speculations[i]) }),
    })),
  }
}

/** Every length at every depth. */
export function speedTests({
  prompt = [512],
  generate = [64],
  depth = [0],
}: Pick<BenchOptions, 'prompt' | 'generate' | 'depth'>): SpeedTest[] {
  const of = (kind: SpeedTest['kind'], lengths: readonly number[]) =>
    depth.flatMap((d) => lengths.filter((n) => n > 0).map((tokens) => ({ kind, tokens, depth: d })))
  const tests = [...of('prompt', prompt), ...of('generate', generate)]
  if (tests.length === 0)
    throw new UsageError('there is nothing to run; give --prompt or --generate a length')
  return tests
}

interface Facts {
  readonly path: string
  readonly type: string
  readonly bytes: number
  readonly bitsPerWeight: number
  readonly threads: number
}

/** Summarizes the rounds of a file. `first` are those of the file that speeds are relative to, in the same order. */
export function summarizeRounds(
  file: Facts,
  tests: readonly SpeedTest[],
  rounds: readonly Round[],
  first: readonly Round[],
): FileSpeed {
  const measured = tests.map((test, t) => ({
    ...test,
    tokensPerSecond: spreadOf(rounds.map((round) => round.tokensPerSecond[t])),
    relative: spreadOf(rounds.map((round, r) => round.tokensPerSecond[t] / first[r].tokensPerSecond[t])),
  }))
  const writing = measured
    .filter(({ kind }) => kind === 'generate')
    .reduce<TestSpeed | undefined>((a, b) => (a && a.depth <= b.depth ? a : b), undefined)
  const residentBytes = Math.max(...rounds.map(({ memory }) => memory.residentBytes))
  return {
    ...file,
    loadMs: spreadOf(rounds.map(({ loadMs }) => loadMs)),
    memory: { ...rounds[0].memory, residentBytes },
    tests: measured,
    ...(writing && { tokensPerSecondPerGigabyte: writing.tokensPerSecond.median / (file.bytes / 1e9) }),
  }
}

/** With the context that the model was trained for. */
async function factsOf(path: string, threads: number | undefined) {
  const { type, bytes, bitsPerWeight, parameters, context } = await inspectFile(path)
  const facts: Facts = { path, type, bytes, bitsPerWeight, threads: threads ?? threadsForModel(parameters) }
  return { facts, context }
}

export function thisMachine(): Machine {
  return {
    cpu: cpus()[0]?.model.trim() || 'unknown',
    cores: machineThreads(),
    memoryBytes: totalmem(),
    platform: `${process.platform}-${process.arch}`,
    llama: PACKAGE_VERSION,
  }
}

/** @throws QuenchError if llama.cpp's libraries are missing */
export const measuringMachine = (): MeasuringMachine => ({ ...thisMachine(), llamaVersion: llamaVersion() })
