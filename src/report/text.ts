/** A comparison for the terminal: a table, a small plot of loss against size, and the verdict. */
import { basename } from 'node:path'
import type { Comparison } from '../compare/comparison.js'
import { humanBytes, plain, table } from '../format.js'
import { speed, unsteady } from './bench.js'
import { boundSign, filled } from './figures.js'
import { scatter } from './scatter.js'

/** Which tokens count: those before them are context. */
const scoredText = ({ tokens, windows, context }: Comparison['settings']): string =>
  `${tokens} tokens scored, the second half of each of ${windows} windows of ${context}`

/** What the two losses are, where there is an original; markup is escaped by who shows it. */
export function lossesText({ model, original }: Comparison): string | undefined {
  if (!original || !model.original) return undefined
  const [own, before] = [model, original].map(({ path }) => basename(path))
  return (
    `conversion loss: KL divergence from ${own}, which was quantized; method loss: from ${before}, the model before its training, ` +
    `from which ${own} itself is ${model.original.kld.mean.toFixed(5)} away`
  )
}

const trainedNote =
  'recovered: share of the KL divergence of plain PTQ at the same type that training took away; of best PTQ: of the best PTQ file no larger; as good as: bits per weight that PTQ needs for the same loss'

/** @param width of the terminal; the first line is the heading of the table */
export function comparisonText(comparison: Comparison, width = Number.POSITIVE_INFINITY): string[] {
  const { model, original, files, verdict, failures, settings } = comparison
  const losses = lossesText(comparison)
  const writing = (measured: Comparison['model']['speed']) => {
    const test = measured?.tests.find(({ kind }) => kind === 'generate')
    return test ? speed(test.tokensPerSecond.median) : ''
  }
  const rows = files.map((file) => [
    `${file.onFront ? '*' : ' '} ${file.name}`,
    file.type,
    humanBytes(file.bytes),
    file.bitsPerWeight.toFixed(2),
    file.perplexity.mean.toFixed(3),
    ...(original ? [file.original?.kld.mean.toFixed(5) ?? ''] : []),
    file.kld.mean.toFixed(5),
    `${file.kldInterval[0].toFixed(5)} - ${file.kldInterval[1].toFixed(5)}`,
    `${(100 * file.top1.mean).toFixed(1)} %`,
    file.recovered ? `${(100 * file.recovered.value).toFixed(1)} %` : '',
    file.recoveredOfBest ? `${(100 * file.recoveredOfBest.value).toFixed(1)} %` : '',
    file.effectiveBits
      ? `${boundSign(file.effectiveBits.bound)}${file.effectiveBits.value.toFixed(2)} bits`
      : '',
    file.speed ? humanBytes(file.neededBytes) : '',
    writing(file.speed),
  ])
  const header = [
    '  file',
    'type',
    'size',
    'bits/weight',
    'PPL',
    ...(original ? ['method loss', 'conversion loss'] : ['KLD']),
    '95 % interval',
    'top-1',
    'recovered',
    'of best PTQ',
    'as good as',
    'memory',
    'tokens/s',
  ]
  const first = [
    '  full precision',
    model.type,
    humanBytes(model.bytes),
    model.bitsPerWeight.toFixed(2),
    model.perplexity.mean.toFixed(3),
    ...(original ? [model.original?.kld.mean.toFixed(5) ?? ''] : []),
    '',
    '',
    '',
    '',
    '',
    '',
    '',
    writing(model.speed),
  ]
  const points = files.map(({ name, bytes, kld, method }) => ({
    name: plain(name, 20),
    x: bytes,
    y: kld.mean,
    mark: method === 'qat' ? '#' : 'o',
  }))
  const [shownHeader, shownRows] = filled(header, [first, ...rows])
  const busy = unsteady(files.flatMap((file) => file.speed ?? []))
  return [
    ...table([shownHeader, ...shownRows], new Set(shownHeader.map((_, i) => i).slice(2)), width),
    `* no other file is as small and as good; ${scoredText(settings)}`,
    ...(losses === undefined ? [] : [plain(losses, 1000)]),
    ...(files.some(({ effectiveBits }) => effectiveBits) ? [trainedNote] : []),
    ...(files.some(({ speed }) => speed) ? [] : ['memory and speed are not measured with --repetitions 0']),
    ...(busy === undefined ? [] : [busy]),
    '',
    `KL divergence${points.every(({ y }) => y > 0) ? ', on a logarithmic scale,' : ''} against size (o plain, # trained)`,
    ...scatter(points, Math.min(72, width - 11)),
    ...failures.map(({ problem }) => `left out: ${plain(problem, 300)}`),
    ...verdict,
  ]
}
