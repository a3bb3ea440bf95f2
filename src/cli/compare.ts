/** `quench compare`: which quantized file of a model to take, measured and told on a page that can be sent on. */
import type { Command } from 'commander'
import type { CompareEvent, CompareOptions, Comparison } from '../compare/comparison.js'
import { bytes, lengths, positiveInteger, seconds, threadCount, typeList, wholeNumber } from './options.js'
import { humanCount } from './terminal/format.js'
import { print, printJson, printWarning, reportFailures } from './terminal/print.js'
import { clearProgress, progressLine } from './terminal/progress.js'
import { showTraining, warn } from './train/train.js'

interface Options {
  data: string[]
  output?: string
  types?: string[]
  train: string[]
  steps?: number
  time?: number
  trainData?: string[]
  trainTokens?: number
  seed?: number
  tokens?: number
  context?: number
  repetitions: number
  prompt: number[]
  generate: number[]
  depth: number[]
  threads?: number
  memory?: number
  folder: string
  store?: string
  json?: true
  markdown?: true
}

export function addCompare(program: Command): void {
  program
    .command('compare')
    .description('make what is missing, measure everything, and say which file is worth having')
    .argument('<model>', 'full-precision GGUF file that the others are made of and compared with')
    .argument('[files...]', 'other quantized files of this model')
    .requiredOption('-d, --data <paths...>', 'held-out text: files, or folders of .txt, .md and .jsonl files')
    .option('-o, --output <file>', 'report to write, one HTML file')
    .option('--types <list>', 'PTQ types to make, or none (default: the usual ladder)', typeList)
    .option('--train <list>', 'types to train (QAT), e.g. Q4_0,Q2_K', typeList, [])
    .option('--steps <n>', 'optimizer steps for each of them (default: 300)', wholeNumber)
    .option(
      '--time <time>',
      'train each for about this long instead, e.g. 10m; the files then depend on how fast the machine is',
      seconds,
    )
    .option('--train-data <paths...>', 'text to train on (default: the model writes its own)')
    .option('--train-tokens <n>', 'most distinct training tokens', positiveInteger)
    .option('--seed <n>', 'seed of training (default: 1)', wholeNumber)
    .option('--tokens <n>', 'most tokens of the held-out text to use (default: all)', positiveInteger)
    .option('-c, --context <n>', 'tokens of a window (default: 512)', positiveInteger)
    .option('-r, --repetitions <n>', 'turns of the speed tests; 0 for none', wholeNumber, 5)
    .option('-p, --prompt <lengths>', 'tokens of prompts to read', lengths, [512])
    .option('-n, --generate <lengths>', 'tokens to write one by one', lengths, [64])
    .option('--depth <lengths>', 'tokens that are there before', lengths, [0])
    .option('--threads <n>', 'threads to use (default: as the size of the model allows)', threadCount)
    .option('--memory <size>', 'memory that the file has to fit into, e.g. 8GB', bytes)
    .option('-f, --folder <folder>', 'folder for the files that are made', 'quench-compare')
    .option('--store <file>', 'database of measurements (default: in the cache folder of the user)')
    .option('--json', 'print one JSON document')
    .option('--markdown', 'print a table for a model card')
    .addHelpText(
      'after',
      '\nMeasurements are kept, so a comparison that was stopped goes on where it was. One more file costs its own' +
        '\nmeasurements, and speed tests of all files again, since speeds are compared within one sitting only.' +
        '\n\nExample:\n  quench compare model-F16.gguf --train Q4_0 --time 30m --data heldout.txt --memory 8GB -o report.html',
    )
    .action(async (model: string, files: string[], options: Options, command: Command) => {
      const { json, markdown, output, memory, steps, time, trainData, trainTokens, seed, ...rest } = options
      if (time !== undefined && steps !== undefined)
        command.error('error: --time and --steps exclude each other', { exitCode: 2 })
      if (json && markdown) command.error('error: --json and --markdown exclude each other', { exitCode: 2 })
      const { compare } = await import('../compare/compare.js')
      const asked = {
        model,
        files,
        ...rest,
        training: {
          ...(steps !== undefined && { steps }),
          ...(time !== undefined && { seconds: time }),
          ...(trainTokens !== undefined && { tokens: trainTokens }),
          ...(trainData && { data: trainData }),
          ...(seed !== undefined && { seed }),
        },
        ...(memory !== undefined && { memoryBytes: memory }),
        onProgress: showComparison(!json && !markdown),
        onWarning: warn,
      }
      const comparison = output === undefined ? await compare(asked) : await reported(output, asked)
      clearProgress()
      for (const warning of comparison.warnings) printWarning(warning)
      reportFailures(comparison.failures)
      if (json) printJson(comparison)
      else print(await described(comparison, markdown ?? false))
      if (output !== undefined && !json && !markdown) print(['', `The report is in ${output}`])
    })
}

/** Compares and writes the report, which nobody else writes meanwhile. */
async function reported(output: string, asked: CompareOptions): Promise<Comparison> {
  const { compare, comparisonFiles } = await import('../compare/compare.js')
  const { withOutputs } = await import('../outputs.js')
  const { reads, writes } = comparisonFiles(asked)
  const others = writes.map((other) => ({ ...other, lockedLater: true }))
  return withOutputs({ reads, writes: [{ path: output, by: '--output' }, ...others] }, async () => {
    const comparison = await compare(asked)
    const { atomicWrite } = await import('../files.js')
    const { reportPage } = await import('../report/page.js')
    await atomicWrite(output, reportPage(comparison))
    return comparison
  })
}

async function described(comparison: Comparison, markdown: boolean): Promise<string[]> {
  if (markdown) return (await import('../report/card.js')).modelCard(comparison).trimEnd().split('\n')
  return (await import('../report/text.js')).comparisonText(comparison)
}

const parts = {
  evaluate: 'evaluating, files done',
  bench: 'measuring speed',
  tensors: 'reading tensors, files done',
  write: 'writing continuations, files done',
} as const

/** A line for each file that is made, and progress within each part of the work. */
function showComparison(speak: boolean): (event: CompareEvent) => void {
  let part = ''
  let show: (event: CompareEvent) => void = () => {}
  return (event) => {
    const now = 'type' in event ? `${event.stage} ${event.type}` : event.stage
    if (now !== part) {
      part = now
      clearProgress()
      if (speak && event.stage === 'quantize') print([`making ${event.type}`])
      if (speak && event.stage === 'train') print([`training at ${event.type}`])
      show = progressOf(event)
    }
    show(event)
  }
}

function progressOf({ stage }: CompareEvent): (event: CompareEvent) => void {
  if (stage === 'train') {
    const training = showTraining('  ')
    return (event) => {
      if (event.stage === 'train') training(event.event)
    }
  }
  if (!(stage in parts)) return () => {}
  const perSecond = (rate: number) =>
    stage === 'bench' ? `${humanCount(rate)} tokens/s` : `${rate.toFixed(2)} files/s`
  const line = progressLine(parts[stage as keyof typeof parts], perSecond)
  return (event) => {
    if ('done' in event) line(event.done, event.total)
  }
}
