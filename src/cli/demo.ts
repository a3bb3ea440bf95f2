/** `quench demo`: PTQ, QAT and a comparison of both on the included model. */
import { relative } from 'node:path'
import { type Command, Option } from 'commander'
import type { DemoEvent, DemoFile, DemoReport } from '../compare/demo.js'
import type { TrainOptions } from '../config/options.js'
import { UsageError } from '../errors.js'
import { helpEnd } from './help.js'
import { positiveInteger, seconds, wholeNumber } from './options.js'
import { deviceOption, group, jsonOption, progressOption, threadsOption, valued } from './shared.js'
import { humanBytes, humanCount, plusMinus, table } from './terminal/format.js'
import { print, printJson } from './terminal/print.js'
import { clearProgress, progressLine } from './terminal/progress.js'
import { bold, green, headed, type Line } from './terminal/style.js'
import { showTraining, warn } from './train/run.js'

interface Options {
  output: string
  steps?: number
  time?: number
  tokens?: number
  seed?: number
  device: NonNullable<TrainOptions['device']>
  json?: true
}

export function addDemo(program: Command): void {
  const command = program
    .command('demo')
    .description('make and compare PTQ and QAT files of the included model, in five to ten minutes')
  group(command, 'What to make', [
    new Option('-o, --output <folder>', 'folder for the files').default('quench-demo'),
    valued(
      '--steps <n>',
      'optimizer steps for each type after the block-wise stage (default: none)',
      positiveInteger,
    ),
    valued(
      '--time <time>',
      'train each type for about this long, e.g. 20m; the files then depend on how fast the machine is',
      seconds,
    ),
    valued(
      '--tokens <n>',
      'tokens of text to train with (default: 32768); fewer take less time and win less',
      positiveInteger,
    ),
    valued('--seed <n>', 'seed of the text and of the order of windows (default: 1)', wholeNumber),
    deviceOption(),
  ])
  group(command, 'Running and output', [threadsOption('all'), progressOption(), jsonOption()])
  command
    .addHelpText('after', helpEnd([], ['quench demo', 'quench demo --time 20m --output long']))
    .action(async ({ output, steps, time, tokens, seed, device, json }: Options) => {
      if (time !== undefined && steps !== undefined)
        throw new UsageError('--time and --steps exclude each other; give one of them')
      const { demo } = await import('../compare/demo.js')
      const report = await demo({
        folder: output,
        onProgress: showDemo(json === undefined),
        onWarning: warn,
        ...(steps !== undefined && { steps }),
        ...(time !== undefined && { seconds: time }),
        ...(tokens !== undefined && { tokens }),
        ...(seed !== undefined && { seed }),
        device,
      })
      clearProgress()
      if (json) printJson(report)
      else
        print([
          '',
          ...demoTable(report),
          '',
          green(verdict(report)),
          '',
          ...kindsTable(report),
          '',
          ...howToRun(report),
        ])
    })
}

/** Prints a line for each part of the work, and its progress. */
function showDemo(speak: boolean): (event: DemoEvent) => void {
  let part = ''
  let show: (event: DemoEvent) => void = () => {}
  return (event) => {
    const now =
      event.stage === 'train'
        ? `train ${event.type}`
        : event.stage === 'importance'
          ? 'quantize'
          : event.stage
    if (now !== part) {
      part = now
      clearProgress()
      if (speak) print([bold(announcement(event))])
      const training = showTraining('  ')
      const weighing = progressLine(
        '  importance matrix',
        (rate) => `${humanCount(rate)} tokens/s`,
        'importance',
      )
      const evaluating = progressLine('  evaluating', (rate) => `${humanCount(rate)} tokens/s`, 'evaluate')
      show = (e) => {
        if (e.stage === 'train') training(e.event)
        if (e.stage === 'importance') weighing(e.done, e.total)
        if (e.stage === 'evaluate') evaluating(e.done, e.total)
      }
    }
    show(event)
  }
}

function announcement(event: DemoEvent): string {
  if (event.stage === 'quantize' || event.stage === 'importance')
    return 'PTQ: the usual ladder of files by the reference quantizer, with and without an importance matrix'
  if (event.stage === 'train') return `QAT: training at ${event.type}, from the model's own full precision`
  return 'Evaluation: every file as llama.cpp runs it, on text that nobody has trained on'
}

function demoTable({ reference, files, tokens }: DemoReport): Line[] {
  const header = [
    'file',
    'size',
    'bits/weight',
    'PPL',
    'KLD',
    '',
    'top-1',
    '',
    'recovered',
    '',
    'of best PTQ',
    'as good as',
  ]
  const first = [
    'F16',
    humanBytes(reference.bytes),
    reference.bitsPerWeight.toFixed(2),
    reference.perplexity.mean.toFixed(3),
  ]
  const rows = files.map((file) => [
    file.name,
    humanBytes(file.bytes),
    file.bitsPerWeight.toFixed(2),
    file.perplexity.mean.toFixed(3),
    file.kld.mean.toFixed(5),
    plusMinus(file.kld.se, 5),
    `${(100 * file.top1.mean).toFixed(1)} %`,
    plusMinus(100 * file.top1.se, 1),
    ...(file.recovered
      ? [`${(100 * file.recovered.mean).toFixed(1)} %`, plusMinus(100 * file.recovered.se, 1)]
      : ['', '']),
    file.recoveredOfBest
      ? `${(100 * file.recoveredOfBest.mean).toFixed(1)} % of ${file.recoveredOfBest.opponent}`
      : '',
    equalSize(file),
  ])
  const lines = table([header, first, ...rows], new Set([1, 2, 3, 4, 5, 6, 7, 8, 9, 11]))
  return [
    ...headed(lines).map((line) => (typeof line === 'string' && / QAT\b/.test(line) ? green(line) : line)),
    `${humanCount(tokens)} held-out tokens; KLD is nats per token from F16; ± is a standard error over windows;`,
    'imatrix: made with an importance matrix; best PTQ: the PTQ file with the least KLD that is no larger',
  ]
}

function equalSize({ effectiveBits }: DemoFile): string {
  if (!effectiveBits) return ''
  const sign = { exact: '', atLeast: '>= ', atMost: '<= ' }[effectiveBits.bound]
  return `${sign}${effectiveBits.value.toFixed(2)} bits`
}

/** Summarizes the table in one sentence. */
function verdict({ files }: DemoReport): string {
  const trained = files.filter((file) => file.method === 'qat')
  const parts = trained.map((file) => {
    const type = file.name.replace(' QAT', '')
    return `${type} as good as a PTQ file of ${equalSize(file)} in ${file.bitsPerWeight.toFixed(2)}`
  })
  return `On this model QAT makes ${parts.join(', ')}, at the same size and speed as the PTQ file it replaces.`
}

/** Results of the trained files on general text. */
function kindsTable({ training }: DemoReport): Line[] {
  const kinds = training[0]?.kinds.map(({ kind }) => kind) ?? []
  const rows = training.map(({ type, kinds: own, recovered }) => [
    `${type} QAT`,
    ...own.map(({ recovered: { mean, se } }) => `${(100 * mean).toFixed(0)} % ± ${(100 * se).toFixed(0)}`),
    `${(100 * recovered).toFixed(0)} %`,
  ])
  return [
    'The same files on general text of five kinds, from other sources than what they were trained on: the share of KL divergence that they recover from plain PTQ',
    ...headed(table([['', ...kinds, 'mean'], ...rows], new Set([1, 2, 3, 4, 5, 6]))),
  ]
}

function howToRun({ files, reference, text }: DemoReport): string[] {
  const near = (path: string): string => relative(process.cwd(), path) || path
  const { path } = files.find((file) => file.name === 'Q4_0 QAT') as DemoFile
  return [
    'The files are ordinary GGUF files. To run one with llama.cpp, and to measure it again:',
    `  llama-cli -m ${near(path)} -p "Call me" -n 64`,
    `  npx quench eval ${near(path)} --reference ${near(reference.path)} --data ${near(text)}`,
  ]
}
