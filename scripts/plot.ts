/**
 * Draws the plot of the README and docs/demo.md from the demo's JSON: loss against size, plain PTQ and PTQ with an importance matrix as
 * lines, QAT as points below the files they replace.
 *
 *   npx quench demo --json > demo.json && npx tsx scripts/plot.ts demo.json docs/demo.svg
 */
import { readFileSync, writeFileSync } from 'node:fs'
import * as Plot from '@observablehq/plot'
import { parseHTML } from 'linkedom'
import type { DemoReport } from '../src/index.js'

const [from, to] = process.argv.slice(2)
if (!from || !to) throw new Error('usage: npx tsx scripts/plot.ts DEMO.json OUT.svg')
const { files } = JSON.parse(readFileSync(from, 'utf8')) as DemoReport
const points = files.map((f) => ({
  name: f.name.replace(' imatrix', ''),
  megabytes: f.bytes / 1e6,
  kld: f.kld.mean,
  low: f.kld.mean - 2 * f.kld.se,
  high: f.kld.mean + 2 * f.kld.se,
  series: f.method === 'qat' ? 'QAT' : f.name.endsWith(' imatrix') ? 'PTQ with an importance matrix' : 'PTQ',
}))
const of = (series: string) => points.filter((p) => p.series === series)
const colours = { PTQ: '#4269d0', 'PTQ with an importance matrix': '#2b8a3e', QAT: '#e8590c' }
const [ptq, weighted, qat] = Object.keys(colours).map(of)
const [blue, green, orange] = Object.values(colours)
const gains = qat.flatMap((q) => {
  const p = ptq.find((x) => q.name === `${x.name} QAT`)
  return p ? [{ megabytes: q.megabytes, from: p.kld, to: q.kld }] : []
})
const { document } = parseHTML('<!doctype html><html><body></body></html>')
const svg = Plot.plot({
  document,
  width: 760,
  height: 420,
  marginTop: 40,
  marginLeft: 70,
  marginRight: 60,
  marginBottom: 45,
  style: { background: '#ffffff', fontSize: '13px', color: '#222222' },
  x: { label: 'file size, MB →', grid: true, insetLeft: 100, insetRight: 10 },
  y: {
    label: '↑ KL divergence from full precision, nats per token',
    type: 'log',
    grid: true,
    tickFormat: '~g',
  },
  marks: [
    Plot.line(weighted, { x: 'megabytes', y: 'kld', sort: 'megabytes', stroke: green }),
    Plot.line(ptq, { x: 'megabytes', y: 'kld', sort: 'megabytes', stroke: blue }),
    Plot.arrow(gains, {
      x1: 'megabytes',
      x2: 'megabytes',
      y1: 'from',
      y2: 'to',
      stroke: orange,
      strokeDasharray: '3,3',
    }),
    Plot.dot(ptq, { x: 'megabytes', y: 'kld', fill: blue, r: 4 }),
    Plot.dot(weighted, { x: 'megabytes', y: 'kld', fill: green, r: 4 }),
    Plot.dot(qat, { x: 'megabytes', y: 'kld', fill: orange, r: 5 }),
    // 95 % intervals, drawn over the dots since most are smaller.
    Plot.ruleX(points, { x: 'megabytes', y1: 'low', y2: 'high', stroke: '#222222', strokeWidth: 1.5 }),
    Plot.text(ptq, {
      x: 'megabytes',
      y: 'kld',
      text: 'name',
      dx: 8,
      dy: -8,
      textAnchor: 'start',
      fill: blue,
    }),
    // The others lie close to the plain files of their name.
    Plot.text(
      weighted.filter(({ name }) => !ptq.some((p) => p.name === name)),
      { x: 'megabytes', y: 'kld', text: 'name', dx: -8, dy: 16, fill: green },
    ),
    ...Object.entries(colours).map(([series, fill], i) =>
      Plot.text([series], { frameAnchor: 'top-right', dy: 16 * i, fill, fontWeight: 'bold' }),
    ),
    Plot.text(qat, {
      x: 'megabytes',
      y: 'kld',
      text: 'name',
      dx: -9,
      dy: 12,
      textAnchor: 'end',
      fill: orange,
    }),
  ],
})
svg.setAttribute('xmlns', 'http://www.w3.org/2000/svg')
writeFileSync(to, `${svg.outerHTML}\n`)
