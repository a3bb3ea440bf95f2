/**
 * Compares `evaluateFiles` with llama-perplexity on five quantized files of a model: every metric of both, the time of both
 * (interleaved, best of each, with the same threads), the longest turn of the event loop, and the resident memory of a process
 * for a text and for one four times as long.
 *
 *   npx tsx bench/perplexity.ts PATH_OF_LLAMA_PERPLEXITY MODEL.gguf TEXT.txt [context] [windows] [rounds] [threads]
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Evaluation, evaluateFiles, quantizeFile } from '../src/index.js'

const types = ['Q8_0', 'Q6_K', 'Q4_K_M', 'Q4_0', 'Q2_K']

interface Setting {
  readonly model: string
  readonly files: readonly string[]
  readonly text: string
  readonly context: number
  readonly windows: number
  readonly threads: number
}

if (process.argv[2] === '--memory') await reportMemory(JSON.parse(process.argv[3]) as Setting)
else await main(process.argv.slice(2))

function evaluate({ model, files, text, context, windows, threads }: Setting): Promise<Evaluation> {
  const content = readFileSync(text, 'utf8')
  const maxTokens = windows * context
  return evaluateFiles({ reference: model, files, text: content, context, maxTokens, threads })
}

/** Peak resident memory of this process. */
async function reportMemory(setting: Setting): Promise<void> {
  const { tokens } = await evaluate(setting)
  console.log(`memory: ${(process.resourceUsage().maxRSS / 1024).toFixed(0)} MB for ${tokens} scored tokens`)
}

async function main([tool, model, text, ...numbers]: string[]): Promise<void> {
  if (!tool || !model || !text)
    throw new Error(
      'usage: npx tsx bench/perplexity.ts LLAMA_PERPLEXITY MODEL TEXT [context] [windows] [rounds] [threads]',
    )
  const [context = 512, windows = 32, rounds = 1, threads = 1] = numbers.map(Number)
  const folder = mkdtempSync(join(tmpdir(), 'quench-bench-'))
  try {
    const files = types.map((type) => join(folder, `${type}.gguf`))
    for (const [i, path] of files.entries()) await quantizeFile(model, path, types[i])
    await bench({ model, files, text, context, windows, threads }, tool, join(folder, 'base.kld'), rounds)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function bench(setting: Setting, tool: string, base: string, rounds: number): Promise<void> {
  const { model, files, text, context, windows, threads } = setting
  const theirs = (...args: string[]): string => {
    const common = ['-f', text, '-c', context, '--chunks', windows, '-t', threads, '-tb', threads].map(String)
    const { status, stdout, stderr } = spawnSync(tool, [...common, ...args], {
      encoding: 'utf8',
      maxBuffer: 2 ** 28,
    })
    if (status !== 0) throw new Error(`llama-perplexity ${args.join(' ')}: ${stderr}`)
    return stdout + stderr
  }
  const times = { ours: [] as number[], theirs: [] as number[] }
  for (let round = 0; round < rounds; round++) {
    let start = performance.now()
    const turns = watchTurns()
    const evaluation = await evaluate(setting)
    const longest = turns()
    times.ours.push(performance.now() - start)
    start = performance.now()
    theirs('-m', model, '--kl-divergence-base', base)
    const outputs = files.map((file) => theirs('-m', file, '--kl-divergence-base', base, '--kl-divergence'))
    times.theirs.push(performance.now() - start)
    if (round === 0) compare(evaluation, outputs)
    console.log(`event loop: the longest turn took ${longest}`)
  }
  const [ours, other] = [Math.min(...times.ours), Math.min(...times.theirs)]
  console.log(
    `time: ${(ours / 1000).toFixed(2)} s and ${(other / 1000).toFixed(2)} s, ratio ${(ours / other).toFixed(3)}`,
  )
  for (const factor of [1, 4]) {
    const longer: Setting = { ...setting, windows: windows * factor }
    const args = ['--import', 'tsx', fileURLToPath(import.meta.url), '--memory', JSON.stringify(longer)]
    process.stdout.write(spawnSync(process.execPath, args, { encoding: 'utf8' }).stdout)
  }
}

/**
 * Monitors the event loop until the returned function is called: the longest turn by the clock, and by the thread's CPU time
 * (Linux), which waiting for a core on a busy machine does not lengthen.
 */
function watchTurns(): () => string {
  const computed = (): number => {
    try {
      return Number(readFileSync('/proc/thread-self/schedstat', 'utf8').split(' ')[0]) / 1e6
    } catch {
      return Number.NaN
    }
  }
  let [clock, cpu] = [performance.now(), computed()]
  let [longestClock, longestCpu] = [0, 0]
  const timer = setInterval(() => {
    const [nextClock, nextCpu] = [performance.now(), computed()]
    longestClock = Math.max(longestClock, nextClock - clock)
    longestCpu = Math.max(longestCpu, nextCpu - cpu)
    clock = nextClock
    cpu = nextCpu
  }, 1)
  return () => {
    clearInterval(timer)
    return `${longestClock.toFixed(1)} ms, of which ${longestCpu.toFixed(1)} ms computing`
  }
}

/** Prints each metric: ours, theirs, the difference. */
function compare({ files }: Evaluation, outputs: readonly string[]): void {
  for (const [i, file] of files.entries()) {
    const { kld } = file
    const figures: [string, number, string][] = [
      ['PPL', file.perplexity.mean, 'Mean PPL(Q) '],
      ['PPL ratio', file.perplexityRatio.mean, 'Mean PPL(Q)/PPL(base) '],
      ['KLD', kld.mean, 'Mean    KLD'],
      ['max', kld.max, 'Maximum KLD'],
      ['99.9 %', kld.p999, '99.9%   KLD'],
      ['99 %', kld.p99, '99.0%   KLD'],
      ['95 %', kld.p95, '95.0%   KLD'],
      ['90 %', kld.p90, '90.0%   KLD'],
      ['median', kld.median, 'Median  KLD'],
      ['10 %', kld.p10, '10.0%   KLD'],
      ['5 %', kld.p5, ' 5.0%   KLD'],
      ['1 %', kld.p1, ' 1.0%   KLD'],
      ['RMS Δp %', 100 * file.rmsProbabilityChange.mean, 'RMS Δp '],
      ['top-1 %', 100 * file.top1.mean, 'Same top p:'],
    ]
    console.log(file.type)
    for (const [name, ours, label] of figures) {
      const other = numberAfter(outputs[i], label)
      const difference = other === 0 ? '' : `${(100 * (ours / other - 1)).toFixed(3)} %`
      const [a, b] = [ours, other].map((number) => number.toFixed(6).padStart(11))
      console.log(`  ${name.padEnd(10)} ${a} ${b}  ${difference}`)
    }
  }
}

/** The first number after the last occurrence of a label. */
function numberAfter(output: string, label: string): number {
  const at = output.lastIndexOf(label)
  if (at < 0) throw new Error(`llama-perplexity does not say "${label}"`)
  return Number(/-?\d+\.\d+/.exec(output.slice(at + label.length))?.[0])
}
