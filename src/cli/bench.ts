/** `quench bench`: speed and memory of GGUF files. */
import type { Command } from 'commander'
import { gpuLayers, kvType, lengths, positiveInteger, threadCount } from './options.js'
import { humanCount } from './terminal/format.js'
import { print, printJson, reportFailures } from './terminal/print.js'
import { clearProgress, progressLine } from './terminal/progress.js'

interface Options {
  prompt: number[]
  generate: number[]
  depth: number[]
  repetitions: number
  threads?: number
  kvType: string
  gpuLayers: number
  draft?: string
  draftTokens: number
  data?: string[]
  json?: true
  markdown?: true
  csv?: true
}

export function addBench(program: Command): void {
  program
    .command('bench')
    .description('measure speed and memory of GGUF files, in turns')
    .argument('<files...>', 'GGUF files')
    .option('-p, --prompt <lengths>', 'tokens of prompts to read, e.g. 512,2048', lengths, [512])
    .option('-n, --generate <lengths>', 'tokens to write one by one', lengths, [64])
    .option('--depth <lengths>', 'tokens that are there before, e.g. 0,4096', lengths, [0])
    .option('-r, --repetitions <n>', 'turns of every file', positiveInteger, 5)
    .option('--threads <n>', 'threads to use (default: as the size of the model allows)', threadCount)
    .option('--kv-type <type>', 'type of cached keys and values', kvType, 'f16')
    .option('--gpu-layers <n>', 'layers to put on a GPU, or all', gpuLayers, 0)
    .option('--draft <file>', 'small model of the same vocabulary that guesses ahead')
    .option('--draft-tokens <n>', 'tokens that it guesses at once', positiveInteger, 4)
    .option('-d, --data <paths...>', 'with --draft: texts to continue (default: a few sentences)')
    .option('--json', 'print one JSON document')
    .option('--markdown', 'print a Markdown table')
    .option('--csv', 'print one line for every test, as comma-separated values')
    .addHelpText(
      'after',
      '\npp512 reads a prompt of 512 tokens, tg64 writes 64, @4096 after 4096 others; tokens per second, median of all' +
        '\nturns (least - greatest), and the ratio to the first file within each turn.' +
        '\n\nExample:\n  quench bench model-Q4_K_M.gguf model-Q8_0.gguf --prompt 512 --generate 64 --depth 0,4096',
    )
    .action(async (files: string[], options: Options, command: Command) => {
      const { draft, draftTokens, data, threads, json, markdown, csv, ...rest } = options
      if (Number(json ?? 0) + Number(markdown ?? 0) + Number(csv ?? 0) > 1)
        command.error('error: --json, --markdown and --csv exclude each other', { exitCode: 2 })
      if (data && draft === undefined) command.error('error: --data needs --draft', { exitCode: 2 })
      const { benchFiles } = await import('../speed/index.js')
      const { benchCsv, benchMarkdown, benchText } = await import('../report/bench.js')
      const prompts = data && (await beginnings(data))
      const { withoutBad } = await import('../failures.js')
      const { result: bench, failures } = await withoutBad(files, (files) =>
        benchFiles({
          files,
          ...rest,
          guesses: draftTokens,
          ...(threads !== undefined && { threads }),
          ...(draft !== undefined && { draft }),
          ...(prompts && { prompts }),
          onProgress: progressLine('measuring', (rate) => `${humanCount(rate)} tokens/s`),
        }),
      )
      clearProgress()
      reportFailures(failures)
      if (json) printJson({ ...bench, failures })
      else print((markdown ? benchMarkdown : csv ? benchCsv : benchText)(bench))
    })
}

/** The beginning of each of the first texts. */
async function beginnings(paths: string[]): Promise<string[]> {
  const { readTexts } = await import('../data/texts.js')
  return (await readTexts(paths)).slice(0, 8).map((text) => text.slice(0, 200))
}
