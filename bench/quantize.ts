/**
 * What `quench quantize` takes besides libllama's work, in turns: `llama_model_quantize` alone, and the command. Prints the least and
 * the median of seconds by the clock and of processor time (user and system, of the command with its child process), the
 * differences and the ratios.
 *
 *   npx tsx bench/quantize.ts [MODEL.gguf [TYPE [TURNS [main.js of another build ...]]]]
 *
 * Of `llama_model_quantize` only the call is timed, without the start of Node and the loading of libraries, which llama-quantize would
 * take some 20 ms for.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { loadavg, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

const root = resolve(import.meta.dirname, '..')
const [model = join(root, 'models/quench-5m-f16.gguf'), type = 'Q4_0', turns = '7', ...builds] =
  process.argv.slice(2)
const mains = [join(root, 'dist/cli/main.js'), ...builds.map((path) => resolve(path))]
const folder = mkdtempSync(join(tmpdir(), 'quench-bench-'))
const output = join(folder, 'out.gguf')
const told = join(folder, 'told')
const preload = join(folder, 'tell.cjs')

interface Times {
  /** Seconds by the clock. */
  readonly clock: number
  /** Processor seconds. */
  readonly processor: number
}

const alone = `
const { library } = await import(${JSON.stringify(pathToFileURL(join(root, 'dist/llama/library.js')).href)})
const { quantizeNative } = await import(${JSON.stringify(pathToFileURL(join(root, 'dist/llama/quantize-native.js')).href)})
library()
const start = performance.now()
const before = process.cpuUsage()
const reason = await quantizeNative(...JSON.parse(process.argv[1]))
if (reason !== undefined) throw new Error(reason)
const { user, system } = process.cpuUsage(before)
console.log(JSON.stringify({ clock: (performance.now() - start) / 1e3, processor: (user + system) / 1e6 }))`

function run(args: readonly string[], env: NodeJS.ProcessEnv = process.env): string {
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8', env })
  if (status !== 0) throw new Error(`node ${args.join(' ')}: ${stderr}`)
  return stdout
}

const libllama = (): Times =>
  JSON.parse(run(['--input-type=module', '-e', alone, JSON.stringify([model, output, { type }])])) as Times

const finished = (): string[] => readdirSync(told).filter((name) => !name.startsWith('.'))

/** Each process of the command writes its processor time into a file as it ends. */
function command(main: string): Times {
  rmSync(told, { recursive: true, force: true })
  mkdirSync(told)
  const start = performance.now()
  run([main, 'quantize', model, '--type', type, '-o', output], {
    ...process.env,
    NODE_OPTIONS: `--require ${preload}`,
  })
  const clock = (performance.now() - start) / 1000
  while (finished().length < 2) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10)
  const all = finished().map((name) => Number(readFileSync(join(told, name), 'utf8')))
  return { clock, processor: all.reduce((sum, seconds) => sum + seconds, 0) }
}

const least = (values: readonly number[]): number => Math.min(...values)
const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]

try {
  writeFileSync(
    preload,
    `process.once('exit', () => {
  const { user, system } = process.cpuUsage()
  require('node:fs').writeFileSync(${JSON.stringify(told)} + '/.' + process.pid, String((user + system) / 1e6))
  require('node:fs').renameSync(${JSON.stringify(told)} + '/.' + process.pid, ${JSON.stringify(told)} + '/' + process.pid)
})`,
  )
  const ways: [string, () => Times][] = [
    ['llama_model_quantize', libllama],
    ...mains.map((main): [string, () => Times] => [`quench quantize (${main})`, () => command(main)]),
  ]
  for (const [, time] of ways) time()
  const before = loadavg()[0]
  const times = Array.from({ length: Number(turns) }, () => ways.map(([, time]) => time()))
  console.log(
    `${model}, ${type}, ${turns} turns, load ${before.toFixed(1)} before and ${loadavg()[0].toFixed(1)} after`,
  )
  for (const kind of ['clock', 'processor'] as const) {
    const of = (way: number): number[] => times.map((turn) => turn[way][kind])
    for (const [way, [name]] of ways.entries()) {
      const figures = [least, median].map((choose) => {
        const [own, reference] = [choose(of(way)), choose(of(0))]
        const more = own - reference
        return way === 0
          ? own.toFixed(3)
          : `${own.toFixed(3)} (+${more.toFixed(3)}, x ${(own / reference).toFixed(2)})`
      })
      console.log(`${kind}: least ${figures[0]}, median ${figures[1]} s: ${name}`)
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
