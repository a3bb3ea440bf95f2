/** `quench train`: quantization-aware training of a GGUF file. */

import { type Command, Option } from 'commander'
import type { Method } from '../config/methods.js'
import type { MeasuredBlock, TrainEvent } from '../config/options.js'
import type { Plan } from '../config/plan.js'
import type { EmbeddingChoice } from '../student/untrained.js'
import type { TrainReport } from '../train/report.js'
import { humanBytes, humanCount, table } from './format.js'
import { stopSignal } from './interrupt.js'
import { memorySize, positiveInteger, positiveNumber, seconds, share, wholeNumber } from './options.js'
import { print, printJson, printWarning } from './print.js'
import { clearProgress, duration, progressLine } from './progress.js'

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
    .option('--resume', 'resume a run that was stopped; one that is finished stays as it is')
    .option('-c, --context <n>', 'tokens of a window (default: 128)', positiveInteger)
    .addOption(
      new Option(
        '--method <method>',
        'what trains after the block-wise start: all weights (distill), only scales and norms, nothing; auto: the most that fits',
      )
        .choices(['auto', 'distill', 'scales', 'blockwise'])
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
      const { output, type, time, json, trainEmbeddings, ...rest } = options
      if (time !== undefined && rest.steps !== undefined)
        command.error('error: --time and --steps exclude each other', { exitCode: 2 })
      const { isFinished } = await import('../resume/leftovers.js')
      if (rest.resume && (await isFinished({ input, output, type: type.toUpperCase() }))) {
        if (json) printJson({ path: output, finished: true })
        else print([`${output} is finished: there is nothing to resume`])
        return
      }
      const { train } = await import('../train/train.js')
      const report = await train({
        input,
        output,
        type: type.toUpperCase(),
        ...rest,
        ...(trainEmbeddings && { embeddings: trainEmbeddings }),
        ...(time !== undefined && { seconds: time }),
        ...(!json && {
          onPlan: (plan) => say(describePlan(plan)),
          onBlock: (measured) => say([describeBlock(measured)]),
        }),
        onProgress: showTraining(),
        onWarning: warn,
        signal: stopSignal(),
      })
      clearProgress()
      if (json) printJson(report)
      else print(describe(report))
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

const tokens = (perSecond: number): string =>
  `${perSecond < 10 ? perSecond.toFixed(2) : humanCount(perSecond)} tokens/s`

function say(lines: readonly string[]): void {
  clearProgress()
  print(lines)
}

/** What the first block tells of the others. */
const describeBlock = ({ seconds, tokensPerSecond, left, blocksLeft, peakBytes }: MeasuredBlock): string =>
  `  the first block took ${duration(seconds)} (${tokens(tokensPerSecond)}), the ${blocksLeft} others about ${duration(left)}; ${humanBytes(peakBytes)} of memory so far`

/** What will be done, before it is. */
function describePlan({
  stages,
  memory,
  whole,
  writing,
  untrained,
  momentBytes,
  teacher,
  diskBytes,
  tokens: textTokens,
  calibration,
  few,
}: Plan): string[] {
  const works = stages.map(
    ({ stage, bytes, seconds, tokensPerSecond }) =>
      `  ${stage.padEnd(10)} about ${duration(seconds)}, ${tokens(tokensPerSecond)}${stage === 'blockwise' ? ` from ${humanCount(calibration)}` : ''}, ${humanBytes(bytes)} of memory`,
  )
  const all = stages.reduce((sum, { seconds }) => sum + seconds, writing.seconds)
  const how = whole ? 'the whole model in memory' : 'one block in memory at a time'
  const text =
    writing.tokens > 0
      ? `  text       ${humanCount(writing.tokens)} tokens written by the model, about ${duration(writing.seconds)}, ${humanBytes(writing.text)} of disk in the cache, ${humanBytes(writing.copy)} more meanwhile`
      : `  text       ${humanCount(textTokens)} tokens`
  const lines = [
    `plan: ${how} (${humanBytes(memory)} allowed), up to ${humanBytes(diskBytes)} of disk until the end`,
    text,
  ]
  if (few)
    lines.push(
      `  ${humanCount(calibration)} tokens are few for matrices with ${few.inputs} inputs: expect less; ${humanCount(few.tokens)} would take about ${duration(few.seconds)}`,
    )
  if (untrained.length > 0) lines.push(`  quantized  only, not trained: ${untrained.join(', ')}`)
  if (teacher.topK > 0)
    lines.push(
      `  teacher    its ${teacher.topK} likeliest tokens at each position, ${humanBytes(teacher.bytes)} of that disk`,
    )
  if (momentBytes > 0) lines.push(`  optimizer  moments on disk, ${humanBytes(momentBytes)} of that disk`)
  return [...lines, ...works, `  in all     about ${duration(all)}`]
}

function describe(report: TrainReport): string[] {
  const { validation, written, check, kinds, opponent } = report
  const kld = ({ mean, se }: { mean: number; se: number }) => `${mean.toPrecision(4)} ± ${se.toPrecision(2)}`
  const [before] = validation
  const { trained, all, untrained } = report.weights
  const lines = [
    `${report.path}  ${report.type}  ${humanBytes(report.bytes)}  ${report.bitsPerWeight.toFixed(3)} bits/weight`,
    `text: ${describeText(report)}`,
    `${report.steps} steps, ${humanCount(report.tokens)} tokens, ${report.tokensPerSecond.toFixed(0)} tokens/s`,
    ...(untrained.length > 0
      ? [
          `${humanCount(trained)} of ${humanCount(all)} weights trained, ${untrained.join(', ')} quantized only`,
        ]
      : []),
    `KL divergence on validation text of other sources, nats per token: stock ${kld(before)}`,
    ...report.stages.map(
      ({ stage, seconds, kld: after, taken }) =>
        `  ${kld(after)} after ${stage}, ${duration(seconds)}${taken ? '' : '; not better on every kind of text, so left out'}`,
    ),
    ...kindTable(kinds),
    ...(kinds.some(({ apart }) => apart) ? [`  ${ownTextNote}`] : []),
  ]
  const best = opponent === 'importance' ? 'stock with an importance matrix' : 'stock'
  if (written === 'ptq')
    lines.push(
      `training was no better than ${best}, so that is what the file holds; give it more time or more --calibration tokens`,
    )
  if (written === 'qat' || opponent === 'importance')
    lines.push(
      `recovers ${percent(report.recovered)} ± ${percent(report.recoveredError)} of what stock loses, least on ${report.worst}`,
    )
  if (check.tensors > 0)
    lines.push(
      `libggml reads back ${humanCount(check.weights)} trained weights, ${check.differing} of them differ`,
    )
  return lines
}

const ownTextNote =
  'your text: a part of --data that was held out; only the other kinds decide what is kept and are in the mean'

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`

/** What the text consists of. */
function describeText({ textTokens: { general, files, selfWritten } }: TrainReport): string {
  const parts = [
    [general, 'general text'],
    [files, 'your text'],
    [selfWritten, 'text that the model wrote'],
  ] as const
  return parts
    .filter(([tokens]) => tokens > 0)
    .map(([tokens, what]) => `${humanCount(tokens)} tokens of ${what}`)
    .join(', ')
}

/** The file on each kind of text beside what llama-quantize makes of the model. */
function kindTable(kinds: TrainReport['kinds']): string[] {
  const rows = kinds.map(({ kind, stock, opponent, file, recovered, gain }) => [
    kind,
    stock.mean.toPrecision(3),
    opponent.mean.toPrecision(3),
    `${file.mean.toPrecision(3)} ± ${file.se.toPrecision(1)}`,
    percent(recovered.mean),
    `${percent(gain.mean)} ± ${percent(gain.se)}`,
  ])
  return table(
    [['', 'stock', 'best stock', 'this file', 'recovered', 'better than best stock by'], ...rows],
    new Set([1, 2, 3, 4, 5]),
  ).map((line) => `  ${line}`)
}
