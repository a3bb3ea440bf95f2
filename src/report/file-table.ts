/** The table of files of a report, and what its columns mean. */
import type { ComparedFile, Comparison } from '../compare/comparison.js'
import { humanBytes, plural, plusMinus } from '../format.js'
import { speed as shownSpeed, testName } from './bench.js'
import { effectiveText } from './figures.js'
import { type Html, html, trusted } from './html.js'
import { lossesText } from './text.js'

export const nameOf = (path: string): string => path.split(/[\\/]/).at(-1) ?? path

type Cell = readonly [shown: string | Html, value: string | number]

interface Column {
  readonly title: string
  readonly meaning: string
  /** Whether it may take several lines. */
  readonly wraps?: true
  /** The displayed value, and the sort key. */
  readonly cell: (file: ComparedFile) => Cell
}

const empty: Cell = ['', '']
const range = ([low, high]: readonly [number, number], digits: number): string =>
  `${low.toFixed(digits)} - ${high.toFixed(digits)}`
const percent = (share: number): string => `${(100 * share).toFixed(1)}\u00a0%`
/** It breaks before the interval alone. */
const shareText = ({ value, interval: [low, high] }: NonNullable<ComparedFile['recovered']>): string =>
  `${percent(value)} (${(100 * low).toFixed(1)}\u00a0-\u00a0${percent(high)})`

const sizes: readonly Column[] = [
  {
    title: 'file',
    meaning: 'as it was given or made; trained files are coloured',
    cell: ({ name, method }) => [method === 'qat' ? html`<span class="qat">${name}</span>` : name, name],
  },
  { title: 'type', meaning: 'quantization type of the file', cell: ({ type }) => [type, type] },
  { title: 'size', meaning: 'of the file', cell: ({ bytes }) => [humanBytes(bytes), bytes] },
  {
    title: 'bits/weight',
    meaning: 'size of the weights in the file, by their number',
    cell: ({ bitsPerWeight }) => [bitsPerWeight.toFixed(2), bitsPerWeight],
  },
  {
    title: 'perplexity',
    meaning: 'e to the mean loss on the text: among how many tokens the model seems to choose',
    cell: ({ perplexity }) => [
      `${perplexity.mean.toFixed(3)} ${plusMinus(perplexity.se, 3)}`,
      perplexity.mean,
    ],
  },
]

const ofOriginal: readonly Column[] = [
  {
    title: 'method loss',
    meaning: 'KL divergence of the file from the model before its training',
    cell: ({ original: loss }) => (loss ? [loss.kld.mean.toFixed(5), loss.kld.mean] : empty),
  },
  {
    title: 'conversion loss',
    meaning: 'KL divergence of the file from the checkpoint that was quantized',
    cell: ({ kld }) => [kld.mean.toFixed(5), kld.mean],
  },
]

const divergence: Column = {
  title: 'KL divergence',
  meaning:
    'how much of the full model’s prediction the file loses, on average over tokens, in nats: KL(full model || file)',
  cell: ({ kld }) => [kld.mean.toFixed(5), kld.mean],
}

const losses: readonly Column[] = [
  {
    title: '95 % interval',
    meaning: 'where the mean KL divergence would lie on other text of this kind, by resampling of windows',
    cell: ({ kldInterval }) => [range(kldInterval, 5), kldInterval[0]],
  },
  {
    title: '99 % KLD',
    meaning: 'the divergence that one token in a hundred exceeds: how bad the bad ones are',
    cell: ({ kld }) => [kld.p99.toFixed(4), kld.p99],
  },
  {
    title: 'same top token',
    meaning: 'share of tokens on which file and full model think the same one most probable',
    cell: ({ top1 }) => [percent(top1.mean), top1.mean],
  },
  {
    title: 'recovered of plain PTQ',
    meaning: 'share of the KL divergence of plain PTQ at the same type that the training took away',
    wraps: true,
    cell: ({ recovered: r }) => (r ? [shareText(r), r.value] : empty),
  },
  {
    title: 'recovered of the best PTQ file no larger',
    meaning: 'the same share, against the PTQ file that loses least among those that are no larger',
    wraps: true,
    cell: ({ recoveredOfBest: r }) => (r ? [`${shareText(r)} of ${r.opponent}`, r.value] : empty),
  },
  {
    title: 'as good as',
    meaning: 'bits per weight that PTQ needs for the same loss, between the files of the table',
    wraps: true,
    cell: ({ effectiveBits: e }) => (e ? [effectiveText(e), e.value] : empty),
  },
]

function speeds({ files, settings }: Comparison): Column[] {
  const memory: Column = {
    title: 'memory',
    meaning: `what llama.cpp needs to run the file: weights, KV cache for ${settings.contextTokens} tokens, and compute buffers`,
    cell: ({ speed, neededBytes }) => (speed ? [humanBytes(neededBytes), neededBytes] : empty),
  }
  const tests = (files.find(({ speed }) => speed)?.speed?.tests ?? []).map(
    (test, t): Column => ({
      title: `${testName(test)}, tokens/s`,
      meaning: `tokens per second when ${test.kind === 'prompt' ? 'a prompt' : 'a text'} of ${test.tokens} tokens is ${test.kind === 'prompt' ? 'read' : 'written'}${test.depth > 0 ? ` after ${test.depth} others` : ''}, median of ${plural(settings.repetitions, 'repetition')}`,
      cell: ({ speed }) => {
        const measured = speed?.tests[t].tokensPerSecond
        return measured ? [shownSpeed(measured.median), measured.median] : empty
      },
    }),
  )
  return [memory, ...tests]
}

const front: Column = {
  title: 'Pareto front',
  meaning: 'no other file is both as small and as good',
  cell: ({ onFront }) => [onFront ? 'yes' : 'no', onFront ? 1 : 0],
}

/** Columns in which no file has anything are left out. */
export function fileTable(comparison: Comparison): Html {
  const { files, model, original } = comparison
  const loss = lossesText(comparison)
  const all = [...sizes, ...(original ? ofOriginal : [divergence]), ...losses, ...speeds(comparison), front]
  const columns = all.filter(({ cell }) => files.some((file) => cell(file)[0] !== ''))
  const row = (file: ComparedFile) =>
    html`<tr>${columns.map(({ cell, wraps }) => {
      const [shown, value] = cell(file)
      return html`<td data-value="${value}"${trusted(wraps ? ' class="wraps"' : '')}>${shown}</td>`
    })}</tr>`
  return html`<div class="wide"><table class="sorts" id="files"><thead><tr>${columns.map(
    ({ title }) => html`<th scope="col"><button type="button">${title}</button></th>`,
  )}</tr></thead><tbody>${files.map(row)}</tbody></table></div>
<p class="soft">Full precision: ${nameOf(model.path)}, ${model.type}, ${humanBytes(model.bytes)}, perplexity ${model.perplexity.mean.toFixed(3)}.${loss === undefined ? '' : html` ${loss}.`}</p>
<details id="terms"><summary>What the columns mean</summary><dl>${columns.map(
    ({ title, meaning }) => html`<dt>${title}</dt><dd>${meaning}</dd>`,
  )}</dl></details>`
}
