/**
 * A comparison as Markdown for a model card, with the figures that llama.cpp asks for with a new quantization: size, bits per
 * weight, perplexity and KL divergence against full precision, and speed, all next to types of similar size.
 */
import { basename } from 'node:path'
import type { Comparison } from '../compare/comparison.js'
import type { Recovered } from '../compare/judge.js'
import { humanBytes, plural, plusMinus } from '../format.js'
import { llamaText, speed as shownSpeed, testName } from './bench.js'
import { effectiveText, filled } from './figures.js'
import { markdownTable, markdownText } from './markdown.js'
import { lossesText } from './text.js'

export function modelCard(comparison: Comparison): string {
  const { model, original, files, verdict, settings } = comparison
  const losses = lossesText(comparison)
  const withError = ({ kld }: Pick<Comparison['files'][number], 'kld'>) =>
    `${kld.mean.toFixed(6)} ${plusMinus(kld.se, 6)}`
  const tests = files[0]?.speed?.tests ?? []
  const header = [
    'file',
    'type',
    'size',
    'bits/weight',
    'PPL',
    'PPL ratio',
    ...(original ? ['method loss', 'conversion loss'] : ['mean KLD']),
    '99 % KLD',
    'same top token',
    ...tests.map((test) => `${testName(test)}, t/s`),
    'recovered of plain PTQ',
    'recovered of the best PTQ file no larger',
    'as good as',
  ]
  const speeds = (speed: Comparison['model']['speed']) =>
    tests.map((_, t) => rate(speed?.tests[t].tokensPerSecond.median))
  const first = [
    'reference',
    model.type,
    humanBytes(model.bytes),
    model.bitsPerWeight.toFixed(2),
    `${model.perplexity.mean.toFixed(4)} ${plusMinus(model.perplexity.se, 4)}`,
    '',
    ...(original ? [model.original ? withError(model.original) : ''] : []),
    ...['', '', ''],
    ...speeds(model.speed),
    ...['', '', ''],
  ]
  const rows = files.map((file) => [
    file.name,
    file.type,
    humanBytes(file.bytes),
    file.bitsPerWeight.toFixed(2),
    `${file.perplexity.mean.toFixed(4)} ${plusMinus(file.perplexity.se, 4)}`,
    `${file.perplexityRatio.mean.toFixed(4)} ${plusMinus(file.perplexityRatio.se, 4)}`,
    ...(original ? [file.original ? withError(file.original) : ''] : []),
    withError(file),
    file.kld.p99.toFixed(5),
    `${(100 * file.top1.mean).toFixed(2)} ${plusMinus(100 * file.top1.se, 2)} %`,
    ...speeds(file.speed),
    share(file.recovered),
    file.recoveredOfBest ? `${share(file.recoveredOfBest)} of ${file.recoveredOfBest.opponent}` : '',
    file.effectiveBits ? effectiveText(file.effectiveBits) : '',
  ])
  const { machine, versions, tokens, windows, context } = settings
  const how =
    `Measured by quench ${versions.quench} with ${llamaText(machine)} on ${tokens} tokens ` +
    `(the second half of each of ${windows} windows of ${context}) of ${settings.data.map((path) => basename(path)).join(', ') || 'text that the model wrote'}; ± is a standard error over windows. ` +
    (settings.repetitions > 0
      ? `Speed: ${machine.cpu}, ${threadsOf(settings)}, cpu only, median of ${plural(settings.repetitions, 'round')}.`
      : '')
  const lines = [
    ...verdict.map(markdownText),
    '',
    ...markdownTable(...filled(header, [first, ...rows])),
    '',
    markdownText(losses === undefined ? how : `${how} ${capital(losses)}.`),
  ]
  return `${lines.join('\n')}\n`
}

const capital = (text: string): string => `${text.slice(0, 1).toUpperCase()}${text.slice(1)}`

/** `1 of 2 threads` */
export const threadsOf = ({ threadsUsed, machine }: Comparison['settings']): string =>
  `${threadsUsed} of ${plural(machine.cores, 'thread')}`

/** A share with its interval. */
const share = (won: Recovered | undefined): string =>
  won ? `${percent(won.value)} (${percent(won.interval[0])} - ${percent(won.interval[1])})` : ''
const percent = (value: number): string => `${(100 * value).toFixed(0)} %`

const rate = (median: number | undefined): string => (median === undefined ? '' : shownSpeed(median))
