/** `quench train`: quantization-aware training of a GGUF file. */

import { type Command, Option } from 'commander'
import { type Method, methods, methodsHelp } from '../config/methods.js'
import type { TrainEvent, TrainOptions } from '../config/options.js'
import type { EmbeddingChoice } from '../student/untrained.js'
import { stopSignal } from './interrupt.js'
import { memorySize, positiveInteger, positiveNumber, seconds, share, wholeNumber } from './options.js'
import { print, printJson, printWarning } from './print.js'
import { clearProgress, progressLine } from './progress.js'
import { describeBlock, describeItems, describePlan, describeReport, tokens } from './train-text.js'

interface Options {
  type: string
  output: string
  data?: string[]
  selfWritten?: number
  general?: number
  validation?: number
  tokens?: number
  steps?: number
  time?: number
  resume?: true
  context?: number
  batch?: number
  calibration?: number
  trainEmbeddings?: EmbeddingChoice
  teacherTopK?: number
  method?: Method | 'auto'
  memory?: number
  weightRate?: number
  scaleRate?: number
  seed?: number
  checkpointEvery?: number
  json?: true
  dryRun?: true
}

export function addTrain(program: Command): void {
  program
    .command('train')
    .description('quantization-aware training: a quantized file that loses less than PTQ of the same size')
    .argument('<input>', 'full-precision GGUF file; of a split model the first part')
    .requiredOption('-t, --type <type>', 'file type, e.g. Q4_0, Q3_K_M, Q2_K')
    .requiredOption('-o, --output <file>', 'file to write; one that exists is replaced')
    .option('-d, --data <paths...>', 'text of your own to train on, beside general text of many kinds')
    .option(
      '--general <share>',
      'share of the tokens that are general text, which ships with quench, 0 to 1 (default: half with --data, else what the model does not write)',
      share,
    )
    .option(
      '--self-written <share>',
      'share of the tokens that the model writes itself, 0 to 1 (default: 0 with --data, else 0.5)',
      share,
    )
    .option(
      '--validation <n>',
      'tokens of each kind of text that stages are validated on (default: 1536)',
      positiveInteger,
    )
    .option(
      '--tokens <n>',
      'most distinct training tokens (default: 131072, or what can be written in a tenth of --time)',
      positiveInteger,
    )
    .option('--steps <n>', 'optimizer steps (default: 300)', wholeNumber)
    .option(
      '--time <time>',
      'take about this long in all instead, e.g. 90s, 10m, 2h; the file then depends on how fast the machine is',
      seconds,
    )
    .option('--dry-run', 'print the plan, item by item, and end; nothing is written')
    .option('--resume', 'resume a run that was stopped; one that is finished stays as it is')
    .option('-c, --context <n>', 'tokens of a window (default: 128)', positiveInteger)
    .addOption(
      new Option(
        '--method <method>',
        `what trains after the block-wise stage (${methodsHelp}); auto: the most that fits in memory and time`,
      )
        .choices(['auto', ...methods])
        .default('auto'),
    )
    .addOption(
      new Option(
        '--train-embeddings <choice>',
        'whether embedding and output matrices train or are only quantized; auto: unless the vocabulary is so large that they cost more than they win, or they do not fit',
      )
        .choices(['auto', 'yes', 'no'])
        .default('auto'),
    )
    .option(
      '--teacher-top-k <n>',
      "train from the teacher's n likeliest tokens, computed once and kept on disk; 0: from all (default: 256 where that saves a fifth of the time)",
      wholeNumber,
    )
    .option(
      '--memory <size>',
      "memory that may be used, e.g. 6GB (default: three quarters of the machine's or the container's)",
      memorySize,
    )
    .option(
      '--calibration <n>',
      'tokens from which the start is computed, 0: none (default: 49152, or what fits in most of --time)',
      wholeNumber,
    )
    .option('--batch <n>', 'tokens of a step (default: 512)', positiveInteger)
    .option('--weight-rate <x>', 'learning rate of weights, in quantization steps', positiveNumber)
    .option('--scale-rate <x>', 'learning rate of scales and norms, relative', positiveNumber)
    .option('--seed <n>', 'seed of the text and of the order of windows (default: 1)', wholeNumber)
    .option(
      '--checkpoint-every <seconds>',
      'time between checkpoints, 0: every step (default: as often as they take a twentieth of the time)',
      wholeNumber,
    )
    .option('--json', 'print one JSON document')
    .addHelpText(
      'after',
      '\nCtrl-C stops after the current step and leaves a checkpoint beside the output.' +
        '\n\nOn one kind of machine the same command makes the same file, whatever is cached or free and however busy the machine is, unless' +
        '\n--time is given: then measured speeds set tokens and steps. --resume keeps what the run had decided.' +
        '\n\nExample:\n  quench train model-F16.gguf --type Q4_0 -o model-Q4_0-QAT.gguf --time 30m',
    )
    .action(async (input: string, options: Options, command: Command) => {
      const { output, type, time, json, trainEmbeddings, dryRun, ...rest } = options
      if (time !== undefined && rest.steps !== undefined)
        command.error('error: --time and --steps exclude each other', { exitCode: 2 })
      const { isFinished } = await import('../resume/leftovers.js')
      if (rest.resume && (await isFinished({ input, output, type: type.toUpperCase() }))) {
        if (json) printJson({ path: output, finished: true })
        else print([`${output} is finished: there is nothing to resume`])
        return
      }
      const { planTraining, train } = await import('../train/train.js')
      const settings: TrainOptions = {
        input,
        output,
        type: type.toUpperCase(),
        ...rest,
        ...(trainEmbeddings && { embeddings: trainEmbeddings }),
        ...(time !== undefined && { seconds: time }),
        onProgress: showTraining(),
        onWarning: warn,
        signal: stopSignal(),
      }
      if (dryRun) {
        const plan = await planTraining(settings)
        clearProgress()
        if (json) printJson(plan)
        else print([...describePlan(plan), ...describeItems(plan)])
        return
      }
      const report = await train({
        ...settings,
        ...(!json && {
          onPlan: (plan) => say(describePlan(plan)),
          onBlock: (measured) => say([describeBlock(measured)]),
        }),
      })
      clearProgress()
      if (json) printJson(report)
      else print(describeReport(report))
    })
}

export function warn(warning: string): void {
  clearProgress()
  printWarning(warning)
}

/** Shows the events of a run on the progress line. */
export function showTraining(label = ''): (event: TrainEvent) => void {
  let each = 0 // tokens of a block or a step
  const rates = {
    measure: progressLine(`${label}measuring a block`, () => ''),
    'write text': progressLine(`${label}the model writes text`, (rate) => tokens(rate)),
    blockwise: progressLine(
      `${label}solving blocks`,
      (rate) => `${(60 * rate).toFixed(1)} blocks/min, ${tokens(rate * each)}`,
    ),
    teacher: progressLine(`${label}asking the teacher`, (rate) => tokens(rate)),
    train: progressLine(`${label}training`, (rate) => `${rate.toFixed(2)} steps/s, ${tokens(rate * each)}`),
  }
  return (event) => {
    each = event.tokens / event.total
    rates[event.stage](event.done, event.total)
  }
}

function say(lines: readonly string[]): void {
  clearProgress()
  print(lines)
}
