/** Formats the results of `quench eval` as tables. */
import { basename } from 'node:path'
import type {
  Divergence,
  Estimate,
  EvaluatedFile,
  Evaluation,
  FileEvaluation,
  PerplexityEvaluation,
} from '../../evaluate/index.js'
import { humanBytes, plain, plural, plusMinus, table, visible } from '../terminal/format.js'
import { bold, headed, type Line } from '../terminal/style.js'
import type { SectionResult } from './sections.js'
import { describeChoices, describeGeneration } from './tasks.js'

/** With fewer, a standard error over windows is off by a quarter and more itself. */
const fewestWindows = 10
/** Number of worst documents shown. */
const worstDocuments = 5

export function describeSections(result: SectionResult): Line[] {
  const { chat, tasks = [], generation } = result
  const sections: Line[][] = [
    ...(isEvaluation(result) ? [describeEvaluation(result)] : []),
    ...(isPerplexity(result) ? [describePerplexity(result)] : []),
    ...(chat ? [[bold('Conversations, tokens of the assistant'), ...describeEvaluation(chat)]] : []),
    ...tasks.map(describeChoices),
    ...(generation ? [describeGeneration(generation)] : []),
  ]
  return sections.flatMap((section, i) => (i === 0 ? section : ['', ...section]))
}

const isEvaluation = (result: SectionResult): result is SectionResult & Evaluation =>
  result.files !== undefined && result.reference !== undefined

const isPerplexity = (result: SectionResult): result is SectionResult & PerplexityEvaluation =>
  result.files !== undefined && result.reference === undefined

function describePerplexity({ files, tokens, windows, context }: PerplexityEvaluation): Line[] {
  const name = namer(files)
  const several = files.length > 1
  const header = ['file', 'type', 'size', 'bits/weight', 'PPL', '', 'nats/token', '']
  const rows = files.map((file) => [
    ...start(file, name),
    ...withError(file.loss, 5),
    ...(several ? (file.perplexityRatio ? withError(file.perplexityRatio, 5) : ['', '']) : []),
    file.tokensPerSecond.toFixed(0),
  ])
  const all = [[...header, ...(several ? ['ratio', ''] : []), 'tokens/s'], ...rows]
  const ratio = several ? '; ratio: perplexity divided by that of the first line, on the same tokens' : ''
  return [
    ...headed(table(all, new Set([...all[0].keys()].slice(2)))),
    `${plural(tokens, 'token')} scored in ${plural(windows, 'window')} of ${context}${ratio}`,
    ...fewWindows(windows, context),
    '--reference FULL.gguf adds the KL divergence from the full-precision file',
  ]
}

/** A remark on standard errors that come from few windows. */
const fewWindows = (windows: number, context: number): string[] =>
  windows < fewestWindows
    ? [
        `± comes from the spread of only ${plural(windows, 'window')} and is not reliable itself: give at least ${fewestWindows * context} tokens`,
      ]
    : []

function describeEvaluation(evaluation: Evaluation): Line[] {
  const { reference, original, files, tokens, windows, context } = evaluation
  const name = namer([reference, ...(original ? [original] : []), ...files])
  const sorted = [...files].sort((a, b) => b.bytes - a.bytes)
  const lines: Line[] = headed(sizes(evaluation, sorted, name))
  lines.push(
    `${plural(tokens, 'token')} scored in ${plural(windows, 'window')} of ${context}; the first line is the reference${original ? ', the second the original' : ''}`,
    ...fewWindows(windows, context),
    '',
    bold(`KL divergence from the reference${original ? ' (loss of the conversion)' : ''}, nats per token`),
  )
  lines.push(...divergences(sorted.map((file) => [name(file), file] as const)))
  if (original) {
    lines.push('', bold('KL divergence from the original (loss of the method), nats per token'))
    const rows: (readonly [string, Divergence])[] = []
    if (reference.original) rows.push([name(reference), reference.original])
    for (const file of sorted) if (file.original) rows.push([name(file), file.original])
    lines.push(...divergences(rows))
  }
  lines.push(
    terms(sorted[0]),
    '',
    bold('Where the loss sits: share of the KL divergence by the probability of the reference’s best guess'),
    ...byConfidence(sorted, name),
  )
  const worst = documents(sorted, name)
  if (worst) lines.push('', bold('Documents that lose most, nats per token'), ...worst)
  return lines
}

type Namer = (file: { readonly path: string; readonly kvType?: string }) => string

/** File names, with folders if two would be equal, and with the KV-cache type if files run with several. */
function namer(files: readonly { readonly path: string; readonly kvType?: string }[]): Namer {
  const paths = new Set(files.map(({ path }) => path))
  const short = new Set([...paths].map((path) => basename(path))).size === paths.size
  const several = new Set(files.flatMap(({ kvType }) => kvType ?? [])).size > 1
  return ({ path, kvType }) =>
    `${visible(short ? basename(path) : path)}${several && kvType !== undefined ? ` kv ${kvType}` : ''}`
}

function sizes({ reference, original }: Evaluation, files: readonly FileEvaluation[], name: Namer): string[] {
  const header = [
    'file',
    'type',
    'size',
    'bits/weight',
    'PPL',
    '',
    'ratio',
    '',
    'bits/byte',
    'KLD',
    '',
    'top-1',
    '',
  ]
  const base = (file: EvaluatedFile) => [...start(file, name), '', '', file.bitsPerByte.mean.toFixed(4)]
  const rows = files.map((file) => [
    ...start(file, name),
    ...withError(file.perplexityRatio, 5),
    file.bitsPerByte.mean.toFixed(4),
    ...withError(file.kld, 6),
    ...percent(file.top1),
  ])
  const all = [header, base(reference), ...(original ? [base(original)] : []), ...rows]
  return table(all, new Set([2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]))
}

/** The columns that all tables of sizes begin with. */
const start = (file: EvaluatedFile & { readonly kvType?: string }, name: Namer): string[] => [
  name(file),
  file.type,
  humanBytes(file.bytes),
  file.bitsPerWeight.toFixed(3),
  ...withError(file.perplexity, 4),
]

const topCount = (file: Divergence | undefined): number => file?.topOverlap.count ?? 10

/** What the headings of `divergences` mean. */
const terms = (file: Divergence | undefined): string =>
  `reversed: KL divergence of the reference from the file; RMS Δp: root mean square change of the probability of the text's own token; top-${topCount(file)}: share of the ${topCount(file)} most probable tokens that both have`

function divergences(files: readonly (readonly [string, Divergence])[]): string[] {
  const header = [
    'file',
    'mean',
    '',
    'median',
    'p90',
    'p95',
    'p99',
    'p99.9',
    'max',
    'reversed',
    'RMS Δp',
    'top-10',
  ]
  const rows = files.map(([name, { kld, reversedKld, rmsProbabilityChange, topOverlap }]) => [
    name,
    ...withError(kld, 6),
    ...[kld.median, kld.p90, kld.p95, kld.p99, kld.p999, kld.max, reversedKld.mean].map((n) => n.toFixed(6)),
    `${(100 * rmsProbabilityChange.mean).toFixed(3)} %`,
    `${(100 * topOverlap.mean).toFixed(2)} %`,
  ])
  header[header.length - 1] = `top-${topCount(files[0]?.[1])}`
  const bounded = files.filter(([, { kld }]) => kld.errorBound !== undefined)
  const bounds = bounded.map(
    ([name, { kld }]) =>
      `${name}: the saved reference makes the mean uncertain by at most ${kld.errorBound?.toFixed(6)}`,
  )
  return [...table([header, ...rows], new Set([...header.keys()].slice(1))), ...bounds]
}

function byConfidence(files: readonly FileEvaluation[], name: Namer): string[] {
  const bins = files[0]?.byConfidence ?? []
  const total = bins.reduce((sum, { tokens }) => sum + tokens, 0)
  const percentOf = (share: number): string => `${(100 * share).toFixed(1)} %`
  const header = ['', ...bins.map(({ from, to }) => `${100 * from}-${100 * to} %`)]
  const tokens = ['tokens', ...bins.map((bin) => percentOf(bin.tokens / total))]
  const rows = files.map((file) => [name(file), ...file.byConfidence.map((bin) => percentOf(bin.shareOfKld))])
  return table([header, tokens, ...rows], new Set([...header.keys()].slice(1)))
}

/** The documents with the highest mean over all files; empty if there is only one document. */
function documents(files: readonly FileEvaluation[], name: Namer): string[] | undefined {
  const all = files[0]?.byDocument ?? []
  if (all.length < 2) return undefined
  const mean = (d: number): number => files.reduce((sum, file) => sum + file.byDocument[d].kld, 0)
  const worst = [...all.keys()].sort((a, b) => mean(b) - mean(a)).slice(0, worstDocuments)
  const header = ['document', 'tokens', ...files.map(name)]
  const rows = worst.map((d) => [
    plain(all[d].name, 60),
    String(all[d].tokens),
    ...files.map((file) => file.byDocument[d].kld.toFixed(6)),
  ])
  return table([header, ...rows], new Set([...header.keys()].slice(1)))
}

/** A number and its standard error. */
const withError = ({ mean, se }: Estimate, digits: number, unit = ''): string[] => [
  mean.toFixed(digits),
  `${plusMinus(se, digits)}${unit}`,
]

/** A proportion and its standard error, in percent. */
const percent = ({ mean, se }: Estimate): string[] => withError({ mean: 100 * mean, se: 100 * se }, 2, ' %')
