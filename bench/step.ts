/**
 * Compares a training step of `quench train --method distill` with its matrix products, in one run: the share it reaches of
 * the speed of onnxruntime when that computes only these products, each shape alone, with its output array allocated, right
 * after a run of the same. Two figures: forward and backward pass of student and head; and the whole step with the teacher's
 * forward pass, clipping, Adam and rounding. Products of attention and rotation count as overhead.
 *
 *   npx tsx bench/step.ts [models = shipped,block] [types = Q4_0,Q2_K, or all] [windows of 128 tokens = 4] [rounds = 9]
 *
 * Of clipping, Adam and rounding it says the share of a step that each takes: `rounding` is that of the latents to weights, and `Adam`
 * has the gradient's way back through the rounding, which is one pass over memory with it. `all` are the types of every number format.
 *
 * `block` is one block of a model of 1.1 billion random weights (width 2048, feed-forward 5632, 32 heads).
 */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join as joinPath } from 'node:path'
import { copyOf } from '../src/backends/backend.js'
import { cpu } from '../src/backends/cpu/cpu.js'
import { joinWindows } from '../src/data/windows.js'
import { formats } from '../src/formats/index.js'
import { recipes } from '../src/formats/recipes.js'
import { input, matmul } from '../src/graph/index.js'
import { modelTensors } from '../src/models/weights.js'
import { optimize } from '../src/optimizer/optimizer.js'
import { Random } from '../src/random.js'
import { clip, makeTrainer, modelPath, quartiles, randomWindows, rates, type Trainer } from './student.js'

const [models = 'shipped,block', types = 'Q4_0,Q2_K', windows = '4', rounds = '9'] = process.argv.slice(2)
const batch = { windows: Number(windows), length: 128 }
const tokens = batch.windows * batch.length

/** One file type for each number format that trains. */
const everyFormat = formats.flatMap(({ type, grid }) => {
  const recipe = Object.keys(recipes).find((name) => recipes[name].type === type)
  return grid && recipe !== undefined ? [recipe] : []
})

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now()
  await work()
  return (performance.now() - start) / 1000
}

/** A product of the step, and how often it occurs in a forward and backward pass and in a whole step. */
interface Product {
  readonly operations: number
  passes: number
  step: number
  run(): Promise<unknown>
  dispose(): Promise<void>
}

/** Products for the forward pass and the gradients of input and matrix, once per shape. */
async function products({ source, network }: Trainer): Promise<Product[]> {
  const random = new Random(1)
  const found = new Map<string, Product>()
  for (const [name, shape] of modelTensors(source.architecture, network.config)) {
    if (shape.length === 1) continue
    const [out, width] = shape
    const inBlock = name.startsWith('blk.')
    const [w, x, dy] = [input(shape), input([tokens, width]), input([tokens, out])]
    const kinds = {
      // Blocks run again in the backward pass and for the teacher; the head runs for the teacher and the student.
      forward: { y: matmul(x, w, { transB: true }), passes: 2, step: inBlock ? 3 : 2 },
      dx: { y: matmul(dy, w), passes: 1, step: 1 },
      dw: { y: matmul(dy, x, { transA: true }), passes: 1, step: 1 },
    }
    for (const [kind, { y, passes, step }] of Object.entries(kinds)) {
      const key = `${kind} ${shape}`
      let product = found.get(key)
      if (!product) {
        const program = await cpu.compile({ inputs: { w, x, dy }, outputs: { y } }, true)
        const values = Object.fromEntries(
          Object.entries({ w, x, dy }).map(([n, { size }]) => [
            n,
            cpu.upload(Float32Array.from({ length: size }, () => random.normal())),
          ]),
        )
        const into = { y: cpu.zeros(y.size) }
        product = {
          operations: 2 * tokens * out * width,
          passes: 0,
          step: 0,
          run: () => program.run(values, into),
          dispose: () => program.dispose(),
        }
        found.set(key, product)
      }
      product.passes += passes
      product.step += step
    }
  }
  return [...found.values()]
}

async function measure(path: string, model: string, type: string): Promise<void> {
  const trainer = await makeTrainer(path, type, batch)
  const { network, distillation, parameters, optimizer } = trainer
  const { student } = distillation
  const text = joinWindows(randomWindows(batch, network.config.vocabulary, 1))
  const gradients = new Map(parameters.map((p) => [p.name, p.gradient]))
  const bare = await products(trainer)
  const shares: { passes: number[]; step: number[] } = { passes: [], step: [] }
  const updates: Record<'clipping' | 'rounding' | 'Adam', number[]> = { clipping: [], rounding: [], Adam: [] }
  const times: Record<'teacher' | 'forward' | 'backward' | 'optimizer' | 'products', number[]> = {
    teacher: [],
    forward: [],
    backward: [],
    optimizer: [],
    products: [],
  }
  for (let round = 0; round <= Number(rounds); round++) {
    let hidden = network.output
    const teacher = await seconds(async () => {
      hidden = copyOf(cpu, await network.forward(text, distillation.teacher))
    })
    const forward = await seconds(() => network.forward(text, student))
    const target = { kind: 'teacher', weights: distillation.teacher, hidden } as const
    const backward = await seconds(() => network.backward(text, student, target, gradients))
    const clipping = await seconds(async () => {
      await cpu.sumOfSquares(parameters.map((p) => p.gradient.values))
    })
    const updating = await seconds(() =>
      optimize(parameters, optimizer, rates, { tokens, clip, number: round + 1 }),
    )
    const rounding = await seconds(async () => {
      for (const p of parameters) await p.round()
    })
    let [passes, step] = [0, 0]
    for (const product of bare) {
      await product.run()
      const alone = await seconds(product.run)
      passes += product.passes * alone
      step += product.step * alone
    }
    if (round === 0) continue // compiles
    shares.passes.push(passes / (forward + backward))
    const whole = teacher + forward + backward + updating
    shares.step.push(step / whole)
    updates.clipping.push(clipping / whole)
    updates.rounding.push(rounding / whole)
    updates.Adam.push((updating - clipping - rounding) / whole)
    for (const [name, value] of Object.entries({
      teacher,
      forward,
      backward,
      optimizer: updating,
      products: step,
    }))
      times[name as keyof typeof times].push(value)
  }
  const operations = bare.reduce((sum, { operations, step }) => sum + operations * step, 0)
  const ms = (values: readonly number[]): string => (1000 * quartiles(values).median).toFixed(1)
  const percent = (values: readonly number[]): string => {
    const { low, median, high } = quartiles(values.map((v) => 100 * v))
    return `${median.toFixed(0)} % (${low.toFixed(0)} - ${high.toFixed(0)})`
  }
  console.log(
    `${model}, ${type}, ${tokens} tokens: teacher ${ms(times.teacher)}, forward ${ms(times.forward)}, backward ${ms(times.backward)}, clipping, Adam and rounding ${ms(times.optimizer)} ms; products alone ${ms(times.products)} ms, ${(operations / quartiles(times.products).median / 1e9).toFixed(0)} GFLOP/s`,
  )
  console.log(
    `  of the products' speed: forward and backward ${percent(shares.passes)}, whole step ${percent(shares.step)} (medians, in brackets the middle half)`,
  )
  console.log(
    `  of a step: clipping ${percent(updates.clipping)}, rounding ${percent(updates.rounding)}, Adam ${percent(updates.Adam)}`,
  )
  for (const product of bare) await product.dispose()
  await trainer.dispose()
}

const folder = await mkdtemp(joinPath(tmpdir(), 'quench-bench-'))
try {
  for (const model of models.split(',')) {
    const path = modelPath(model, folder)
    for (const type of types === 'all' ? everyFormat : types.split(',')) await measure(path, model, type)
  }
} finally {
  await rm(folder, { recursive: true, force: true })
}
