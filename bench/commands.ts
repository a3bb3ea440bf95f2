/**
 * Times commands against their baselines, interleaved (A B A B ...), and prints medians and ratios: `quench inspect` against
 * the start-up of Node, and `quench quantize` against llama-quantize.
 *
 *   npx tsx bench/commands.ts MODEL.gguf [path of llama-quantize]
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

const [model, llamaQuantize] = process.argv.slice(2)
if (!model) throw new Error('usage: npx tsx bench/commands.ts MODEL.gguf [path of llama-quantize]')
const quench = resolve(import.meta.dirname, '../dist/cli/main.js')
const folder = mkdtempSync(join(tmpdir(), 'quench-bench-'))
const rounds = 9

function time(command: string, args: readonly string[]): number {
  const start = performance.now()
  const { status, stderr } = spawnSync(command, args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr}`)
  return performance.now() - start
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]

function compare(nameA: string, a: () => number, nameB: string, b: () => number): void {
  a()
  b()
  const pairs = Array.from({ length: rounds }, () => [a(), b()])
  const [left, right] = [median(pairs.map((p) => p[0])), median(pairs.map((p) => p[1]))]
  const ratio = median(pairs.map((p) => p[0] / p[1]))
  const difference = median(pairs.map((p) => p[0] - p[1]))
  console.log(
    `${nameA} ${left.toFixed(0)} ms, ${nameB} ${right.toFixed(0)} ms: ratio ${ratio.toFixed(3)}, difference ${difference.toFixed(0)} ms`,
  )
}

try {
  const node = (...args: string[]): number => time(process.execPath, args)
  compare(
    'quench inspect',
    () => node(quench, 'inspect', model),
    'node -e 0',
    () => node('-e', '0'),
  )
  if (llamaQuantize)
    for (const type of ['Q4_0', 'Q4_K_M', 'Q2_K']) {
      const out = join(folder, 'out.gguf')
      compare(
        `quench quantize ${type}`,
        () => node(quench, 'quantize', model, '--type', type, '-o', out),
        `llama-quantize`,
        () => time(llamaQuantize, [model, out, type]),
      )
    }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
