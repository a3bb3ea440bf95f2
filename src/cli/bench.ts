/** `quench bench`: speed and memory of GGUF files. */
import { type Command, Option } from 'commander'
import { QuenchError, UsageError } from '../errors.js'
import type { Bench } from '../speed/index.js'
import { helpEnd } from './help.js'
import { localPath, localPaths, modelArgument } from './models.js'
import { cachePair, kvType, positiveInteger } from './options.js'
import {
  cacheTypeOptions,
  gpuLayersOption,
  group,
  jsonOption,
  lengthOptions,
  progressOption,
  threadsOption,
  valued,
} from './shared.js'
import { humanCount } from './terminal/format.js'
import { print, printJson, printVerbatim, printWarning, reportFailures } from './terminal/print.js'
import { clearProgress, eventLine } from './terminal/progress.js'
import { headed, outputColumns } from './terminal/style.js'

interface Options {
  prompt: number[]
  generate: number[]
  depth: number[]
  repetitions: number
  threads?: number
  kvType?: string
  cacheTypeK?: string
  cacheTypeV?: string
  gpuLayers: number
  draft?: string
  draftTokens: number
  data?: string[]
  json?: true
  markdown?: true
  csv?: true
  progress?: unknown
}

export function addBench(program: Command): void {
  const command = program
    .command('bench')
    .description('measure speed and memory of GGUF files, with interleaved runs')
    .argument('<files...>', modelArgument('GGUF files'))
  group(command, 'What to measure', [
    ...lengthOptions(),
    valued('-r, --repetitions <n>', 'turns of every file', positiveInteger, { value: 5 }),
    new Option('--draft <file>', 'small model of the same vocabulary that guesses ahead'),
    valued('--draft-tokens <n>', 'tokens that it guesses at once', positiveInteger, { value: 4 }),
    new Option('-d, --data <paths...>', 'with --draft: texts to continue (default: a few sentences)'),
  ])
  group(command, 'Running', [
    threadsOption('chosen by model size'),
    gpuLayersOption(),
    valued(
      '--kv-type <type>',
      'type of cached keys and values, or two as in q8_0/f16 (default: f16)',
      kvType,
    ),
    ...cacheTypeOptions(),
  ])
  group(command, 'Output', [
    new Option('--markdown', 'print a Markdown table'),
    new Option('--csv', 'print one line for every test, as comma-separated values'),
    jsonOption(),
    progressOption(),
  ])
  command
    .addHelpText(
      'after',
      helpEnd(
        [
          'pp512 reads a prompt of 512 tokens, tg64 writes 64, @4096 after 4096 others; tokens per second, median of all rounds (minimum - maximum), and the ratio to the first file in the same round.',
        ],
        ['quench bench model-Q4_K_M.gguf model-Q8_0.gguf --prompt 512 --generate 64 --depth 0,4096'],
      ),
    )
    .action(async (names: string[], options: Options) => {
      const { draft: draftName, draftTokens, data, threads, json, markdown, csv, ...rest } = options
      if (Number(json ?? 0) + Number(markdown ?? 0) + Number(csv ?? 0) > 1)
        throw new UsageError('--json, --markdown and --csv exclude each other; give one of them')
      if (data && draftName === undefined)
        throw new UsageError('--data needs --draft; give the small model too')
      const { cacheTypeK, cacheTypeV, kvType, progress: _, ...running } = rest
      const pair = cachePair(cacheTypeK, cacheTypeV)
      if (pair !== undefined && kvType !== undefined)
        throw new UsageError('--kv-type sets both types of the cache; leave it or the other two out')
      const { benchFiles } = await import('../speed/index.js')
      const { benchCsv, benchMarkdown, benchText } = await import('../report/bench.js')
      const files = await localPaths(names, 'any')
      const draft = draftName === undefined ? undefined : await localPath(draftName, 'any')
      const prompts = data && (await beginnings(data))
      const { withoutBad } = await import('../failures.js')
      const { result: bench, failures } = await withoutBad(files, (files) =>
        benchFiles({
          files,
          ...running,
          kvType: pair ?? kvType ?? 'f16',
          guesses: draftTokens,
          ...(threads !== undefined && { threads }),
          ...(draft !== undefined && { draft }),
          ...(prompts && { prompts }),
          onProgress: eventLine('measuring', (rate) => `${humanCount(rate)} tokens/s`, 'bench'),
        }),
      )
      clearProgress()
      reportFailures(failures)
      await remember(bench)
      if (json) printJson({ ...bench, failures })
      else if (markdown || csv) printVerbatim((markdown ? benchMarkdown : benchCsv)(bench))
      else print(headed(benchText(bench, outputColumns())))
    })
}

/** Stores the speeds for later estimates; if the cache cannot be written, a warning is printed. */
async function remember(bench: Bench): Promise<void> {
  const { recordSpeeds } = await import('../advise/speed/calibration.js')
  const { Store } = await import('../compare/store.js')
  try {
    await Store.with(undefined, (store) => recordSpeeds(store, bench))
  } catch (error) {
    if (!(error instanceof QuenchError)) throw error
    printWarning(`the speeds are not kept for later estimates: ${error.message}`)
  }
}

/** Prompts: the beginning of each of the first texts. */
async function beginnings(paths: string[]): Promise<string[]> {
  const { readTexts } = await import('../data/texts.js')
  return (await readTexts(paths)).slice(0, 8).map((text) => text.slice(0, 200))
}
