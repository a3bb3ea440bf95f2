/**
 * Makes the example comparison with `quench compare` on the shipped model, and puts its table and plots into docs/compare.md.
 * Takes about five minutes on two idle cores.
 *
 *   npx tsx scripts/readme-compare.ts [--folder FOLDER]
 *
 * Writes docs/compare.svg, the screenshots docs/report-*.png (if Chromium is installed) and the part of docs/compare.md
 * between its markers. Measurements are kept in FOLDER (default quench-compare), so that a second run takes seconds.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { parseHTML } from 'linkedom'
import { type Comparison, modelCard } from '../src/index.js'

const { values } = parseArgs({ options: { folder: { type: 'string', default: 'quench-compare' } } })
const root = resolve(import.meta.dirname, '..')
mkdirSync(values.folder, { recursive: true })
const report = join(values.folder, 'report.html')
const json = execFileSync(
  process.execPath,
  [
    join(root, 'dist/cli/main.js'),
    ...[
      'compare',
      join(root, 'models/quench-5m-f16.gguf'),
      '--data',
      join(root, 'models/quench-5m.test.txt'),
    ],
    ...['--train', 'Q4_0,Q3_K_M,Q2_K', '--steps', '100', '--train-tokens', '49152', '--tokens', '16384'],
    // One thread: two threads that wait for each other would mostly measure the machine's load.
    ...['--threads', '1', '--prompt', '256', '--generate', '64', '--folder', values.folder],
    ...['--store', join(values.folder, 'measurements.db'), '-o', report, '--json'],
  ],
  { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] },
)
writeFileSync(join(values.folder, 'report.json'), json)
const comparison = JSON.parse(json) as Comparison

// The plot is shown without its page, on a background of either colour.
const { document } = parseHTML(readFileSync(report, 'utf8'))
const colours: Record<string, string> = { ptq: '#2f5fc4', qat: '#c2410c', front: '#5f6670' }
const picture = document.querySelector('#plot-size svg')
if (!picture) throw new Error('the report has no picture of size')
picture.setAttribute('style', 'background:#ffffff;color:#1c1e21;font-size:13px')
const svg = picture.outerHTML.replace(
  /var\(--(\w+)\)/g,
  (_: string, name: string) => colours[name] ?? 'currentColor',
)
writeFileSync(join(root, 'docs/compare.svg'), `${svg}\n`)

const browser = process.env.QUENCH_CHROMIUM ?? '/usr/bin/chromium'
if (existsSync(browser))
  execFileSync(
    process.execPath,
    [
      '--import',
      'tsx',
      join(root, 'scripts/check-report.ts'),
      report,
      join(values.folder, 'report.json'),
      '--screenshots',
      join(root, 'docs'),
    ],
    { stdio: 'inherit' },
  )

const path = join(root, 'docs/compare.md')
const [begin, end] = ['<!-- compare:begin -->', '<!-- compare:end -->']
const [before, rest] = readFileSync(path, 'utf8').split(begin)
const after = rest?.split(end)[1]
if (after === undefined) throw new Error(`${path} lacks ${begin} or ${end}`)
const [, table, how] = modelCard(comparison).split('\n\n')
const verdict = comparison.verdict.map((sentence) => `> ${sentence}`).join('\n')
writeFileSync(path, `${before}${begin}\n${verdict}\n\n${table}\n\n${how.trim()}\n${end}${after}`)
