/** Text output of `quench train`: the plan, the estimate after the first block, and the report. */
import { blockwise } from '../../config/methods.js'
import type { MeasuredBlock } from '../../config/options.js'
import type { Item, Plan } from '../../config/plan.js'
import { plural } from '../../format.js'
import type { SavedWork } from '../../resume/leftovers.js'
import type { TrainReport } from '../../train/report.js'
import { humanBytes, humanCount, table } from '../terminal/format.js'
import { duration } from '../terminal/progress.js'
import { green, headed, type Line } from '../terminal/style.js'

export const tokens = (perSecond: number): string =>
  `${perSecond < 10 ? perSecond.toFixed(2) : humanCount(perSecond)} tokens/s`

/** The estimate for the remaining blocks, from the first one. */
export const describeBlock = ({
  seconds,
  tokensPerSecond,
  left,
  blocksLeft,
  peakBytes,
}: MeasuredBlock): string =>
  `  the first block took ${duration(seconds)} (${tokens(tokensPerSecond)}), the ${blocksLeft} others about ${duration(left)}; ${humanBytes(peakBytes)} of memory so far`

/** Describes the state that a run resumes from. */
export function describeSaved({ before, blocks, checkpoint }: SavedWork): string {
  if (checkpoint) return 'resuming from the checkpoint'
  if (blocks > 0) return `resuming after ${plural(blocks, 'finished block')}`
  return before
    ? 'resuming before the first block; importances and what else was finished are kept'
    : 'resuming: no block was finished'
}

/** The options of a planned run. */
export interface Asked {
  /** Seconds for the whole command. */
  readonly seconds?: number | undefined
  readonly method?: string | undefined
  /** Whether a part of the plan has been done. */
  readonly resumed?: boolean
}

/** A plan may exceed the requested time by this factor before a warning is printed. */
const tolerance = 1.1

/** Describes the plan before the run starts. */
export function describePlan(plan: Plan, { seconds: asked, method, resumed }: Asked = {}): string[] {
  const {
    stages,
    memory,
    inMemory,
    writing,
    untrained,
    momentBytes,
    teacher,
    diskBytes,
    tokens: textTokens,
    calibration,
    few,
    types,
  } = plan
  const works = stages.map(
    ({ stage, bytes, seconds, tokensPerSecond }) =>
      `  ${stage.padEnd(10)} about ${duration(seconds)}, ${stage === blockwise ? `${humanCount(calibration)} tokens at ` : ''}${tokens(tokensPerSecond)}, ${humanBytes(bytes)} of memory`,
  )
  const how = inMemory ? 'the whole model in memory' : 'one block in memory at a time'
  const copy = writing.copy > 0 ? ` and ${humanBytes(writing.copy)} for a copy while it writes` : ''
  const written =
    writing.tokens > 0
      ? `, ${humanCount(writing.tokens)} of them written by the model: about ${duration(writing.seconds)}, ${humanBytes(writing.text)} in the cache${copy}`
      : ''
  const lines = [
    `plan: ${how} (${humanBytes(memory)} allowed), up to ${humanBytes(diskBytes)} of disk beside the output`,
    `  text       ${humanCount(textTokens)} tokens${written}`,
  ]
  if (plan.device && (plan.device.name !== 'cpu' || plan.device.why !== undefined)) {
    const { name, why } = plan.device
    const onDevice = stages.map(({ deviceMemory = [] }) =>
      deviceMemory.reduce((sum, { amount }) => sum + amount, 0),
    )
    const takes =
      name === 'cpu' ? 'the processor' : `the GPU, up to ${humanBytes(Math.max(...onDevice))} of its memory`
    lines.push(`  device     ${takes}${why === undefined ? '' : `: ${why}`}`)
  }
  if (few)
    lines.push(
      `  ${humanCount(calibration)} tokens are few for matrices with ${few.inputs} inputs, so less will be recovered; ${humanCount(few.tokens)} would take about ${duration(few.seconds)}`,
    )
  if (types)
    lines.push(
      `  tensors    ${Object.entries(types)
        .map(([type, count]) => `${count} ${type}`)
        .join(', ')}`,
    )
  if (untrained.length > 0) lines.push(`  quantized  only, not trained: ${untrained.join(', ')}`)
  if (teacher.topK > 0)
    lines.push(
      `  teacher    its top ${teacher.topK} tokens at each position, ${humanBytes(teacher.bytes)} of that disk`,
    )
  if (momentBytes > 0) lines.push(`  optimizer  moments on disk, ${humanBytes(momentBytes)} of that disk`)
  lines.push(...works)
  if (plan.method === blockwise && method !== blockwise)
    lines.push(
      `  no training steps after that: they do not fit in ${!plan.inMemory ? 'the memory' : asked === undefined ? 'the time' : `--time ${duration(asked)}`}`,
    )
  const done = resumed ? ', of which what was finished before is not repeated' : ''
  lines.push(`  in all     about ${duration(secondsOf(plan))}${done}`)
  return lines
}

const secondsOf = ({ stages, writing }: Plan): number =>
  stages.reduce((sum, { seconds }) => sum + seconds, writing.seconds)

/** The warning of a plan that takes longer than it was given. */
export function overTime(plan: Plan, { seconds: asked }: Asked): string | undefined {
  if (asked === undefined || secondsOf(plan) <= tolerance * asked) return undefined
  return `--time ${duration(asked)} is not enough: the least that there is to do takes about ${duration(secondsOf(plan))}; Ctrl-C stops it`
}

/** Itemizes the plan's memory, time and disk space. */
export function describeItems({ stages, disk }: Plan): string[] {
  const list = (head: string, items: readonly Item[], shown: (amount: number) => string): string[] => {
    const rows = items.filter(({ amount }) => amount > 0).map(({ what, amount }) => [shown(amount), what])
    return rows.length > 0 ? [head, ...table(rows, new Set([0]), 2).map((row) => `  ${row}`)] : []
  }
  return [
    ...stages.flatMap(({ stage, memory, deviceMemory = [], work }) => [
      ...list(`memory of ${stage}`, memory, humanBytes),
      ...list(`memory of the GPU, ${stage}`, deviceMemory, humanBytes),
      ...list(`time of ${stage}`, work, duration),
    ]),
    ...list('disk beside the output, until the end', disk, humanBytes),
  ]
}

export function describeReport(report: TrainReport): Line[] {
  const { validation, written, check, kinds, opponent } = report
  const kld = ({ mean, se }: { mean: number; se: number }) => `${mean.toPrecision(4)} ± ${se.toPrecision(2)}`
  const [before] = validation
  const { trained, all, untrained } = report.weights
  const lines: Line[] = [
    `${report.path}  ${report.type}  ${humanBytes(report.bytes)}  ${report.bitsPerWeight.toFixed(3)} bits/weight`,
    `text: ${describeText(report)}`,
    ...(report.steps > 0
      ? [
          `${report.steps} steps, ${humanCount(report.tokens)} tokens, ${report.tokensPerSecond.toFixed(0)} tokens/s`,
        ]
      : []),
    ...(untrained.length > 0
      ? [
          `${humanCount(trained)} of ${humanCount(all)} weights trained, ${untrained.join(', ')} quantized only`,
        ]
      : []),
    `KL divergence on validation text of other sources, nats per token: plain PTQ ${kld(before)}`,
    ...report.stages.map(
      ({ stage, seconds, kld: after, taken }) =>
        `  ${kld(after)} after ${stage}, ${duration(seconds)}${taken ? '' : '; not better on every kind of text, so left out'}`,
    ),
    ...kindTable(kinds),
    ...(kinds.some(({ apart }) => apart) ? [`  ${ownTextNote}`] : []),
  ]
  const best = opponent === 'importance' ? 'PTQ with an importance matrix' : 'plain PTQ'
  if (written === 'ptq')
    lines.push(
      `training was no better than ${best}, so that is what the file holds; give it more time or more --calibration tokens`,
    )
  if (written === 'qat' || opponent === 'importance')
    lines.push(
      green(
        `recovers ${percent(report.recovered)} ± ${percent(report.recoveredError)} of plain PTQ's KL divergence, least on ${report.worst}`,
      ),
    )
  const loss = meanLoss(kinds)
  if (loss >= farLoss)
    lines.push(
      `it is still far from the full model: ${loss.toPrecision(2)} nats a token, where a third of the likeliest tokens or more are others; take a type of more bits, or a size by quench quantize --target-bits`,
    )
  if (check.tensors > 0)
    lines.push(
      `checked: libggml decodes ${humanCount(check.weights)} weights of the file, ${check.differing} of them differ from what was trained`,
    )
  return lines
}

/** Nats per token from which on no share recovered makes a good file: at .4 a third of the likeliest tokens change, at .9 half (docs/prove.md). */
const farLoss = 0.5

function meanLoss(kinds: TrainReport['kinds']): number {
  const counted = kinds.filter(({ apart }) => !apart)
  return counted.reduce((sum, { file }) => sum + file.mean, 0) / counted.length
}

const ownTextNote =
  'your text: a part of --data that was held out; only the other kinds decide what is kept and are in the mean'

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`

/** Describes the composition of the text. */
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

/** Compares the file with llama-quantize's on each kind of text. */
function kindTable(kinds: TrainReport['kinds']): Line[] {
  const rows = kinds.map(({ kind, stock, opponent, file, recovered, gain }) => [
    kind,
    stock.mean.toPrecision(3),
    opponent.mean.toPrecision(3),
    `${file.mean.toPrecision(3)} ± ${file.se.toPrecision(1)}`,
    percent(recovered.mean),
    `${percent(gain.mean)} ± ${percent(gain.se)}`,
  ])
  const lines = table(
    [['', 'PTQ', 'best PTQ', 'this file', 'recovered', 'better than best PTQ by'], ...rows],
    new Set([1, 2, 3, 4, 5]),
    2,
  )
  return [
    ...headed(lines.map((line) => `  ${line}`)),
    '  PTQ: of the same type, without an importance matrix (with equal importances where the type needs one); best PTQ: that or PTQ with one, whichever has the lower mean',
  ]
}
