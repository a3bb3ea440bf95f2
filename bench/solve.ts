/**
 * Times the parts of solving one block in closed form, beside their bare matrix products: each shape that a part multiplies is run alone,
 * with its output array allocated, right after a run of the same. Products of attention count as overhead.
 *
 *   npx tsx bench/solve.ts [models = shipped,block, or a file] [types = Q4_0] [tokens = 8192] [trial tokens = 2560] [kinds = all, or attn_q,ffn_down,...]
 *
 * `block` is one block of a model of 1.1 billion random weights (width 2048, feed-forward 5632, 32 heads). `shipped` is solved with Fisher
 * information of the outputs where `train` has it. Text is random tokens.
 *
 * Of a part the table gives the whole, the products within it, the same products bare, work on rows (on all threads), and the rest:
 * copies, loops on one thread, the reference quantizer; and the processor time of the whole, of all threads.
 */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join as joinPath } from 'node:path'
import type { DeviceBuffer } from '../src/backends/backend.js'
import { cpu } from '../src/backends/cpu/cpu.js'
import { Products } from '../src/backends/products.js'
import { HiddenStatesInMemory } from '../src/blockwise/hidden-states.js'
import type { Panel, ResultOf } from '../src/blockwise/panels.js'
import type { Part, RunPart } from '../src/blockwise/parts.js'
import { type RowPool, WorkerRows } from '../src/blockwise/row-pool.js'
import { outputMoments } from '../src/blockwise/samples.js'
import { type Side, type Solver, solveBlock } from '../src/blockwise/solve.js'
import { joinWindows } from '../src/data/windows.js'
import { onDevice } from '../src/engine/device-weights.js'
import { Network } from '../src/engine/network.js'
import { input, matmul } from '../src/graph/index.js'
import { usesFisher } from '../src/plan/memory.js'
import { openSource, targetTypes } from '../src/student/source.js'
import { makeBlock } from '../src/student/student.js'
import { StudentWeights } from '../src/student/student-weights.js'
import { threadCount } from '../src/threads.js'
import { modelPath, randomWindows } from './student.js'

const [models = 'shipped,block', types = 'Q4_0', tokens = '8192', trialTokens = '2560', kinds = 'all'] =
  process.argv.slice(2)
const batch = { windows: 4, length: 128 }

/** A product's key: m, k, n, and which operands are transposed; for X'X the part of it. */
type Shape = readonly [m: number, k: number, n: number, transA: boolean, transB: boolean]

interface Costs {
  seconds: number
  processor: number
  products: number
  rows: number
  readonly shapes: Map<string, { readonly shape: Shape; count: number }>
}

const secondsSince = (began: number): number => (performance.now() - began) / 1000

/** Times parts, and what of them are products and rows. */
class Clock {
  readonly parts = new Map<string, Costs>()
  current = this.of('other')

  readonly run: RunPart = async (part: Part, work) => {
    const outer = this.current
    this.current = this.of(part)
    const began = performance.now()
    const used = process.cpuUsage()
    try {
      return await work()
    } finally {
      const { user, system } = process.cpuUsage(used)
      this.current.seconds += secondsSince(began)
      this.current.processor += (user + system) / 1e6
      this.current = outer
    }
  }

  of(part: string): Costs {
    const known = this.parts.get(part) ?? {
      ...{ seconds: 0, processor: 0, products: 0, rows: 0 },
      shapes: new Map(),
    }
    this.parts.set(part, known)
    return known
  }

  async product<T>(shape: Shape, work: () => Promise<T>): Promise<T> {
    const { current } = this
    this.count(current, shape)
    const began = performance.now()
    const result = await work()
    current.products += secondsSince(began)
    return result
  }

  count({ shapes }: Costs, shape: Shape, times = 1): void {
    const known = shapes.get(String(shape)) ?? { shape, count: 0 }
    known.count += times
    shapes.set(String(shape), known)
  }

  async rows(work: () => Promise<void>): Promise<void> {
    const { current } = this
    const began = performance.now()
    await work()
    current.rows += secondsSince(began)
  }
}

class TimedProducts extends Products {
  constructor(private readonly clock: Clock) {
    super(cpu)
  }

  protected override product(...args: Parameters<Products['product']>): Promise<DeviceBuffer> {
    const [, , , shape, { transA = false, transB = false }] = args
    return this.clock.product([...shape, transA, transB], () => super.product(...args))
  }

  override errors(...args: Parameters<Products['errors']>): Promise<Float32Array> {
    const [, , [rows, k, n], { metric } = {}] = args
    if (metric) this.clock.count(this.clock.current, [rows, n, n, false, false])
    return this.clock.product([rows, k, n, false, true], () => super.errors(...args))
  }

  override stepErrors(...args: Parameters<Products['stepErrors']>): ReturnType<Products['stepErrors']> {
    const [, , , [rows, k, n], { metric }] = args
    this.clock.count(this.clock.current, [rows, k, n, false, true])
    if (metric) this.clock.count(this.clock.current, [rows, n, n, false, false], 2)
    return this.clock.product([rows, k, n, false, true], () => super.stepErrors(...args))
  }
}

class TimedRows implements RowPool {
  private readonly pool = new WorkerRows(threadCount())

  constructor(private readonly clock: Clock) {}

  run<P extends Panel>(
    count: number,
    panelOf: (row: number, rows: number) => P,
    take: (row: number, result: ResultOf<P>) => void,
  ): Promise<void> {
    return this.clock.rows(() => this.pool.run(count, panelOf, take))
  }

  dispose(): Promise<void> {
    return this.pool.dispose()
  }
}

/** Seconds and operations of all products, each shape run alone. */
async function bare(shapes: Iterable<{ readonly shape: Shape; readonly count: number }>) {
  let [seconds, operations] = [0, 0]
  for (const { shape, count } of shapes) {
    const [m, k, n, transA, transB] = shape
    const [a, b] = [input(transA ? [k, m] : [m, k]), input(transB ? [n, k] : [k, n])]
    const y = matmul(a, b, { transA, transB })
    const program = await cpu.compile({ inputs: { a, b }, outputs: { y } }, true)
    const filled = (size: number): DeviceBuffer => cpu.upload(new Float32Array(size).fill(0.01))
    const values = { a: filled(a.size), b: filled(b.size) }
    const into = { y: cpu.zeros(y.size) }
    await program.run(values, into)
    let least = Number.POSITIVE_INFINITY
    for (let round = 0; round < Math.min(3, count); round++) {
      const began = performance.now()
      await program.run(values, into)
      least = Math.min(least, secondsSince(began))
    }
    await program.dispose()
    seconds += least * count
    operations += 2 * m * k * n * count
  }
  return { seconds, operations }
}

async function measure(path: string, model: string, type: string): Promise<void> {
  const source = await openSource(path)
  const network = new Network(cpu, source.architecture, source.config, batch)
  const clock = new Clock()
  const products = new TimedProducts(clock)
  const rows = new TimedRows(clock)
  const planned = targetTypes(source, { type })
  const student = new StudentWeights(cpu, source, planned, new Map())
  const block = await makeBlock(cpu, source, planned, 0)
  student.take(block)
  const teacher = onDevice(cpu, source.weights)
  const batches = (count: number, seed: number): Int32Array[] =>
    Array.from({ length: Math.ceil(count / network.tokens) }, (_, i) =>
      joinWindows(randomWindows(batch, network.config.vocabulary, seed + i)),
    )
  const [text, trial] = [batches(Number(tokens), 1), batches(Number(trialTokens), 1000)]
  const outputs = usesFisher(source)
    ? await outputMoments(network, text[0], teacher, { kind: 'tokens', tokens: text[0] })
    : new Map<string, Float32Array>()
  const statesOf = async (of: readonly Int32Array[], weights: Side['weights']) => {
    const states = new HiddenStatesInMemory()
    for (const [i, each] of of.entries()) await states.set(i, await network.embed(each, weights))
    return states
  }
  const sideOf = async (weights: Side['weights']): Promise<Side> => ({
    weights,
    states: await statesOf(text, weights),
    trial: await statesOf(trial, weights),
  })
  const choices: string[] = []
  const solver: Solver = {
    ...{ path, network, products, rows, outputs, full: source.weights, keeps: true, run: clock.run },
    bounds: [0, trial.length * network.tokens],
    onChoice: (name, choice, error) =>
      choices.push(`${name.replace(/^blk.0.|.weight$/g, '')} ${choice} ${error.toFixed(5)}`),
  }
  const solved = block.parameters.filter(
    ({ name }) => kinds === 'all' || kinds.split(',').some((kind) => name.includes(`.${kind}.`)),
  )
  const sides = { student: await sideOf(student), teacher: await sideOf(teacher) }
  const began = performance.now()
  await solveBlock(solver, 0, sides, new Map(solved.map((p) => [p.name, p])))
  const whole = secondsSince(began) - products.compiling - network.compiling
  const passes = clock.of('forward passes')
  const matrices = solved.filter(({ shape }) => shape.length === 2)
  for (const { shape } of matrices)
    clock.count(passes, [network.tokens, shape[1], shape[0], false, true], 2 * (text.length + trial.length))
  let [alone, flops] = [0, 0]
  const lines: string[] = []
  const cells = (values: readonly number[]): string => values.map((x) => x.toFixed(2).padStart(8)).join(' |')
  const total = [0, 0, 0, 0, 0, 0]
  for (const [part, costs] of clock.parts) {
    const { seconds, operations } = await bare(costs.shapes.values())
    if (costs.seconds === 0 && seconds === 0) continue
    alone += seconds
    flops += operations
    const rest = costs.seconds - costs.products - costs.rows
    const row = [costs.seconds, costs.products, seconds, costs.rows, rest, costs.processor]
    for (const [i, value] of row.entries()) total[i] += value
    lines.push(`| ${part.padEnd(22)} |${cells(row)} |`)
  }
  console.log(`${model}, ${type}, ${tokens} tokens, ${trialTokens} of the trial, ${threadCount()} threads: ${whole.toFixed(1)} s without ${(products.compiling + network.compiling).toFixed(1)} s of compiling
| part                   |    whole | products |     bare |     rows |     rest |      cpu |
|------------------------|---------:|---------:|---------:|---------:|---------:|---------:|
${lines.join('\n')}
| all parts              |${cells(total)} |
whole / bare products: ${(whole / alone).toFixed(2)}; ${(flops / 1e12).toFixed(2)} TFLOP at ${(flops / alone / 1e9).toFixed(0)} GFLOP/s
${choices.join(', ')}
`)
  await rows.dispose()
  await products.dispose()
  await network.dispose()
  await source.gguf.close()
}

const folder = await mkdtemp(joinPath(tmpdir(), 'quench-bench-'))
try {
  for (const model of models.split(','))
    for (const type of types.split(','))
      await measure(model.endsWith('.gguf') ? model : modelPath(model, folder), model, type)
} finally {
  await rm(folder, { recursive: true, force: true })
}
