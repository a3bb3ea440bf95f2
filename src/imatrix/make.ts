/**
 * `quench imatrix`: an importance matrix of a model from text, by quench's own engine, for llama-quantize and `quench quantize`.
 *
 *   open the model -> text as windows -> sums of squares of what every matrix reads, batch by batch -> write
 */
import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { basename } from 'node:path'
import { cpu } from '../backends/cpu/cpu.js'
import { type Release, withCleanup } from '../cleanup.js'
import { digest } from '../data/order.js'
import { FileError, QuenchError, UsageError } from '../errors.js'
import { quote } from '../gguf/index.js'
import { checkLoads } from '../llama/index.js'
import { memoryBudget } from '../memory.js'
import { aboveZero, checkNumbers, checkOptionNames, whole } from '../option-checks.js'
import { withOutputs } from '../outputs.js'
import { besidePath } from '../paths.js'
import { Provenance } from '../provenance/provenance.js'
import { openSource, type Source } from '../student/source.js'
import { collect } from './collect.js'
import type { ImatrixOptions } from './options.js'
import { windowsOf } from './text.js'
import { type Sums, writeImatrix } from './write.js'

/** What `makeImatrix` has done. */
export interface ImatrixReport {
  readonly path: string
  /** Matrices that have an entry. */
  readonly entries: number
  /** Windows of the text, which llama.cpp calls chunks, and tokens of each. */
  readonly windows: number
  readonly context: number
  readonly tokens: number
  /** Names of the texts, as the file tells them. */
  readonly datasets: readonly string[]
  readonly seconds: number
}

const ending = '.partial'

/** Tokens in place of text. */
export interface ImatrixWindows {
  /** Of the model's vocabulary, and all of one length. */
  readonly tokens: readonly Int32Array[]
  /** What they are called in the file. */
  readonly name: string
}

/** @throws UsageError, FileError or QuenchError of one sentence */
export async function makeImatrix(options: ImatrixOptions): Promise<ImatrixReport> {
  checkOptionNames(options, {
    input: true,
    output: true,
    data: true,
    tokens: true,
    context: true,
    processOutput: true,
    memory: true,
    resume: true,
    onProgress: true,
    onWarning: true,
    signal: true,
  })
  checkNumbers(options, { tokens: whole(1), context: whole(8), memory: aboveZero })
  return collectImatrix(options)
}

/** `makeImatrix` of options that are checked. @param given is taken in place of their text */
export async function collectImatrix(
  options: ImatrixOptions,
  given?: ImatrixWindows,
): Promise<ImatrixReport> {
  const { input, output, data = [], resume } = options
  const partial = besidePath(output, ending)
  if (resume && !existsSync(partial))
    throw new UsageError(`${output} has nothing to resume, since ${partial} is not there; leave out --resume`)
  return withOutputs(
    {
      writes: [{ path: output, by: 'the output', files: [partial] }],
      reads: [{ path: input, by: 'the input' }, ...data.map((path) => ({ path, by: '--data' }))],
    },
    () => withCleanup((defer) => makeTo(options, given, partial, defer)),
  )
}

async function makeTo(
  options: ImatrixOptions,
  given: ImatrixWindows | undefined,
  partial: string,
  defer: (release: Release) => void,
): Promise<ImatrixReport> {
  const start = performance.now()
  const { input, output, data } = options
  await cpu.load?.()
  const source = await openSource(input)
  defer(() => source.gguf.close())
  await checkLoads(input, 'load')
  const context = contextOf(source, given?.tokens[0]?.length ?? options.context)
  const windows = given?.tokens ?? (await windowsOf(options, context))
  const provenance = new Provenance({
    command: 'imatrix',
    options: { text: digest(windows), context, processOutput: options.processOutput },
    origins: source.gguf.files.map((path) => ({ role: 'model', path })),
    input: source.gguf.metadata,
  }).begin()
  defer(() => provenance.stop())
  const sums = await collect({
    source,
    windows,
    partial,
    memory: options.memory ?? memoryBudget(),
    processOutput: options.processOutput ?? false,
    resume: options.resume ?? false,
    onProgress(done, total) {
      if (options.signal?.aborted)
        throw new QuenchError('stopped; the same command with --resume goes on from what was saved')
      options.onProgress?.({ stage: 'importance', done, total })
    },
  })
  checkFinite(input, sums)
  const datasets = given ? [given.name] : data?.length ? data : [`written by ${basename(input)}`]
  await writeImatrix(output, sums, { datasets, windows: windows.length, length: context }, provenance)
  await rm(partial, { force: true })
  return {
    path: output,
    entries: sums.size,
    windows: windows.length,
    context,
    tokens: windows.length * context,
    datasets,
    seconds: (performance.now() - start) / 1000,
  }
}

function contextOf({ config }: Source, context = Math.min(512, config.context)): number {
  if (context <= config.context) return context
  throw new UsageError(`--context ${context} is more than the model's ${config.context} tokens`)
}

function checkFinite(input: string, sums: Sums): void {
  for (const [name, values] of sums)
    if (!values.every((value) => Number.isFinite(Math.fround(value))))
      throw new FileError(
        input,
        `what ${quote(name)} reads is not finite on this text, so the model or its file is damaged`,
      )
}
