/** A comparison for the terminal: a table, a small plot of loss against size, and the verdict. */
import type { Comparison } from '../compare/comparison.js'
import { humanBytes, plain, table } from '../format.js'
import { speed } from './bench.js'
import { scatter } from './scatter.js'

/** Which tokens count: those before them are context. */
const scoredText = ({ tokens, windows, context }: Comparison['settings']): string =>
  `${tokens} tokens scored, the second half of each of ${windows} windows of ${context}`

/** @param width of the terminal; the first line is the heading of the table */
export function comparisonText(
  { model, files, verdict, failures, settings }: Comparison,
  width = Number.POSITIVE_INFINITY,
): string[] {
  const writing = (measured: Comparison['model']['speed']) => {
    const test = measured?.tests.find(({ kind }) => kind === 'generate')
    return test ? speed(test.tokensPerSecond.median) : ''
  }
  const rows = files.map((file) => [
    `${file.onFront ? '*' : ' '} ${file.name}`,
    humanBytes(file.bytes),
    file.bitsPerWeight.toFixed(2),
    file.perplexity.mean.toFixed(3),
    file.kld.mean.toFixed(5),
    `${file.kldInterval[0].toFixed(5)} - ${file.kldInterval[1].toFixed(5)}`,
    `${(100 * file.top1.mean).toFixed(1)} %`,
    file.recovered ? `${(100 * file.recovered.value).toFixed(1)} %` : '',
    file.recoveredOfBest ? `${(100 * file.recoveredOfBest.value).toFixed(1)} %` : '',
    file.effectiveBits ? `${file.effectiveBits.value.toFixed(2)} bits` : '',
    file.speed ? humanBytes(file.neededBytes) : '',
    writing(file.speed),
  ])
  const header = [
    '  file',
    'size',
    'bits/weight',
    'PPL',
    'KLD',
    '95 % interval',
    'top-1',
    'recovered',
    'of best PTQ',
    'as good as',
    'memory',
    'tokens/s',
  ]
  const first = [
    `  ${model.type}`,
    humanBytes(model.bytes),
    model.bitsPerWeight.toFixed(2),
    model.perplexity.mean.toFixed(3),
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
  return [
    ...table([header, first, ...rows], new Set([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]), width),
    `* no other file is as small and as good; ${scoredText(settings)}`,
    ...(files.some(({ speed }) => speed) ? [] : ['memory and speed are not measured with --repetitions 0']),
    '',
    'KL divergence against size (o plain, # trained)',
    ...scatter(points, Math.min(72, width - 11)),
    ...failures.map(({ problem }) => `left out: ${plain(problem, 300)}`),
    ...verdict,
  ]
}
