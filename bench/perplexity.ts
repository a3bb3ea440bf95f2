/**
 * `evaluateFiles` beside llama-perplexity, on five quantized files of a model: every figure of both, the time of both (A
 * B in turn, best of each), how long the event loop was ever blocked, and resident memory for a text and for all of it.
 *
 *   npx tsx bench/perplexity.ts PATH_OF_LLAMA_PERPLEXITY MODEL.gguf TEXT.txt [context] [windows] [rounds]
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { type Evaluation, evaluateFiles, quantizeFile } from '../dist/index.js'

const [tool, model, text, contextText = '512', windowsText = '32', roundsText = '1'] = process.argv.slice(2)
if (!tool || !model || !text)
  throw new Error(
    'usage: npx tsx bench/perplexity.ts LLAMA_PERPLEXITY MODEL.gguf TEXT.txt [context] [windows] [rounds]',
  )
const context = Number(contextText)
const windows = Number(windowsText)
const types = ['Q8_0', 'Q6_K', 'Q4_K_M', 'Q4_0', 'Q2_K']
const folder = mkdtempSync(join(tmpdir(), 'quench-bench-'))

function theirs(...args: string[]): string {
  const common = ['-f', text, '-c', String(context), '--chunks', String(windows), '-ngl', '0']
  const { status, stdout, stderr } = spawnSync(tool, [...common, ...args], {
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
  })
  if (status !== 0) throw new Error(`llama-perplexity ${args.join(' ')}: ${stderr}`)
  return stdout + stderr
}

/** The first number after a label. */
function numberAfter(output: string, label: string): number {
  const at = output.indexOf(label)
  if (at < 0) throw new Error(`llama-perplexity does not say "${label}"`)
  return Number(/-?\d+\.\d+/.exec(output.slice(at + label.length))?.[0])
}

function compare(evaluation: Evaluation, outputs: readonly string[]): void {
  for (const [i, file] of evaluation.files.entries()) {
    const figures: [string, number, string][] = [
      ['PPL', file.perplexity.mean, 'Mean PPL(Q) '],
      ['PPL ratio', file.perplexityRatio.mean, 'Mean PPL(Q)/PPL(base) '],
      ['KLD', file.kld.mean, 'Mean    KLD'],
      ['max', file.kld.max, 'Maximum KLD'],
      ['99.9 %', file.kld.p999, '99.9%   KLD'],
      ['99 %', file.kld.p99, '99.0%   KLD'],
      ['95 %', file.kld.p95, '95.0%   KLD'],
      ['90 %', file.kld.p90, '90.0%   KLD'],
      ['median', file.kld.median, 'Median  KLD'],
      ['10 %', file.kld.p10, '10.0%   KLD'],
      ['5 %', file.kld.p5, ' 5.0%   KLD'],
      ['1 %', file.kld.p1, ' 1.0%   KLD'],
      ['RMS Δp %', 100 * file.rmsProbabilityChange.mean, 'RMS Δp'],
      ['top-1 %', 100 * file.top1.mean, 'Same top p'],
    ]
    console.log(file.type)
    for (const [name, ours, label] of figures) {
      const other = numberAfter(outputs[i], label)
      const ratio = other === 0 ? '' : `${(100 * (ours / other - 1)).toFixed(3)} %`
      console.log(
        `  ${name.padEnd(10)} ${ours.toFixed(6).padStart(11)} ${other.toFixed(6).padStart(11)}  ${ratio}`,
      )
    }
  }
}

try {
  const files: string[] = []
  for (const type of types) {
    const path = join(folder, `${type}.gguf`)
    await quantizeFile(model, path, type)
    files.push(path)
  }
  const base = join(folder, 'base.kld')
  const content = readFileSync(text, 'utf8')
  const times = { ours: [] as number[], theirs: [] as number[] }
  let outputs: string[] = []
  let evaluation: Evaluation | undefined
  const delay = monitorEventLoopDelay({ resolution: 1 })
  for (let round = 0; round < Number(roundsText); round++) {
    let start = performance.now()
    delay.enable()
    evaluation = await evaluateFiles({
      reference: model,
      files,
      text: content,
      context,
      maxTokens: windows * context,
    })
    delay.disable()
    times.ours.push(performance.now() - start)
    start = performance.now()
    theirs('-m', model, '--kl-divergence-base', base)
    outputs = files.map((file) => theirs('-m', file, '--kl-divergence-base', base, '--kl-divergence'))
    times.theirs.push(performance.now() - start)
  }
  if (evaluation) compare(evaluation, outputs)
  const [ours, other] = [Math.min(...times.ours), Math.min(...times.theirs)]
  console.log(
    `\ntime: ${(ours / 1000).toFixed(2)} s and ${(other / 1000).toFixed(2)} s, ratio ${(ours / other).toFixed(3)}`,
  )
  console.log(`event loop: blocked for at most ${(delay.max / 1e6).toFixed(1)} ms`)
  const before = process.resourceUsage().maxRSS
  const whole = await evaluateFiles({
    reference: model,
    files,
    text: content,
    context,
    maxTokens: 4 * windows * context,
  })
  const after = process.resourceUsage().maxRSS
  const grown = ((after - before) / 1024).toFixed(1)
  console.log(
    `memory: ${(before / 1024).toFixed(0)} MB for ${evaluation?.tokens} tokens, ${grown} MB more for ${whole.tokens}`,
  )
} finally {
  rmSync(folder, { recursive: true, force: true })
}
