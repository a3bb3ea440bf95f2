/**
 * Puts the demo's results into docs/demo.md, between its markers, as Markdown tables.
 *
 *   npx quench demo --json > demo.json && npx tsx scripts/readme.ts demo.json
 */
import { readFileSync, writeFileSync } from 'node:fs'
import type { DemoReport } from '../src/index.js'
import { threadCount } from '../src/threads.js'

const path = process.argv[2]
if (!path) throw new Error('usage: npx tsx scripts/readme.ts DEMO.json')
const { files, reference, tokens, seconds, peakBytes, training } = JSON.parse(
  readFileSync(path, 'utf8'),
) as DemoReport
const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(2)} MB`
const rows = files.map((f) => {
  const name = f.method === 'qat' ? `**${f.name}**` : f.name
  const won = f.recovered
    ? `**${(100 * f.recovered.mean).toFixed(0)} %** ± ${(100 * f.recovered.se).toFixed(1)}`
    : ''
  const best = f.recoveredOfBest
    ? `${(100 * f.recoveredOfBest.mean).toFixed(0)} % ± ${(100 * f.recoveredOfBest.se).toFixed(1)} of ${f.recoveredOfBest.opponent}`
    : ''
  const sign = f.effectiveBits && { exact: '', atLeast: '≥ ', atMost: '≤ ' }[f.effectiveBits.bound]
  const equal = f.effectiveBits ? `${sign}${f.effectiveBits.value.toFixed(2)} bits` : ''
  const kld = `${f.kld.mean.toFixed(5)} ± ${f.kld.se.toFixed(5)}`
  const top1 = `${(100 * f.top1.mean).toFixed(1)} %`
  return `| ${[name, megabytes(f.bytes), f.bitsPerWeight.toFixed(2), f.perplexity.mean.toFixed(2), kld, top1, won, best, equal].join(' | ')} |`
})
const kinds = training[0].kinds.map(({ kind }) => kind)
const kindRows = training.map(({ type, kinds: own, recovered }) => {
  const cells = own.map(
    ({ recovered: won }) => `${(100 * won.mean).toFixed(0)} % ± ${(100 * won.se).toFixed(0)}`,
  )
  return `| ${[`${type} QAT`, ...cells, `**${(100 * recovered).toFixed(0)} %**`].join(' | ')} |`
})
const table = `| file | size | bits/weight | perplexity | KL divergence | top-1 | recovered | of the best PTQ file | as good as |
|---|---:|---:|---:|---:|---:|---:|---|---:|
| F16 (reference) | ${megabytes(reference.bytes)} | ${reference.bitsPerWeight.toFixed(2)} | ${reference.perplexity.mean.toFixed(2)} | | | | | |
${rows.join('\n')}

${tokens.toLocaleString('en-US')} held-out tokens, each file as llama.cpp runs it; ± is a standard error over windows. The whole run took
${seconds.toFixed(0)} seconds and ${(peakBytes / 1e6).toFixed(0)} MB on ${threadCount()} cores.

The share of PTQ's KL divergence that the same files recover on five kinds of text from sources that training did not use:

| file | ${kinds.join(' | ')} | mean |
|---|${'---:|'.repeat(kinds.length + 1)}
${kindRows.join('\n')}
`
const [begin, end] = ['<!-- demo:begin -->', '<!-- demo:end -->']
const page = 'docs/demo.md'
const [before, rest] = readFileSync(page, 'utf8').split(begin)
const after = rest?.split(end)[1]
if (after === undefined) throw new Error(`${page} lacks ${begin} or ${end}`)
writeFileSync(page, `${before}${begin}\n${table}${end}${after}`)
