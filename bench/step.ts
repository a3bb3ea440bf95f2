/**
 * A training step against the matrix products in it, in one run on the same machine: how much of the speed that
 * onnxruntime reaches on bare products of these shapes a block's forward and backward pass keeps.
 *
 *   npx tsx bench/step.ts [windows] [length]
 */

import { shippedConfig } from '../scripts/model/config.js'
import { input, matmul, type Tensor } from '../src/graph/index.js'
import type { Batch } from '../src/models/architecture.js'
import { llama } from '../src/models/llama.js'
import { modelTensors } from '../src/models/weights.js'
import { Random } from '../src/random.js'
import { Program } from '../src/runtime/program.js'
import { Network } from '../src/train/network.js'

const batch: Batch = { windows: Number(process.argv[2] ?? 8), length: Number(process.argv[3] ?? 256) }
const config = shippedConfig
const rounds = 7
const random = new Random(1)
const noise = (size: number): Float32Array =>
  Float32Array.from({ length: size }, () => 0.05 * random.normal())
const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]
const tokens = batch.windows * batch.length

/** Every product of a forward pass, and the two of its backward pass, as one program each; the seconds of a run. */
async function products(): Promise<{ run: () => Promise<void>; operations: number }> {
  const programs: { program: Program; feeds: Record<string, Float32Array> }[] = []
  let operations = 0
  for (const [, shape] of modelTensors(llama, config)) {
    if (shape.length === 1) continue
    const [out, width] = shape
    const [w, x, dy] = [input(shape), input([tokens, width]), input([tokens, out])]
    const forward = matmul(x, w, { transB: true })
    // Forward once more: blocks are computed again on the way back, and the head runs for the teacher too.
    const outputs: Record<string, Tensor> = {
      forward,
      dx: matmul(dy, w),
      dw: matmul(dy, x, { transA: true }),
    }
    const feeds = { w: noise(w.size), x: noise(x.size), dy: noise(dy.size) }
    programs.push({ program: await Program.compile({ inputs: { w, x, dy }, outputs }), feeds })
    programs.push({ program: await Program.compile({ inputs: { w, x }, outputs: { forward } }), feeds })
    operations += 8 * tokens * out * width
  }
  const results = new Map<Program, Record<string, Float32Array>>()
  return {
    operations,
    run: async () => {
      for (const { program, feeds } of programs)
        results.set(program, await program.run(feeds, results.get(program) ?? {}))
    },
  }
}

const shapes = modelTensors(llama, config)
const sized = (fill: (size: number) => Float32Array): Map<string, Float32Array> =>
  new Map([...shapes].map(([name, shape]) => [name, fill(shape.reduce((n, d) => n * d, 1))]))
const weights = sized(noise)
const gradients = sized((size) => new Float32Array(size))
const network = new Network(llama, config, batch)
const ids = Int32Array.from({ length: tokens }, () => random.int(config.vocabulary))
const hidden = (await network.forward(ids, weights)).slice()
const step = async (): Promise<void> => {
  await network.forward(ids, weights)
  await network.backward(ids, weights, { kind: 'teacher', weights, hidden }, gradients)
}
const bare = await products()

const seconds = async (work: () => Promise<void>): Promise<number> => {
  const start = performance.now()
  await work()
  return (performance.now() - start) / 1000
}
await step()
await bare.run()
const pairs: [number, number][] = []
for (let i = 0; i < rounds; i++) pairs.push([await seconds(step), await seconds(bare.run)])
const gflops = (s: number): string => (bare.operations / s / 1e9).toFixed(0)
const [ours, theirs] = [median(pairs.map((p) => p[0])), median(pairs.map((p) => p[1]))]
console.log(`step: ${(tokens / ours).toFixed(0)} tokens/s, ${gflops(ours)} GFLOP/s in its products`)
console.log(
  `bare products: ${gflops(theirs)} GFLOP/s; a step reaches ${(100 * median(pairs.map(([a, b]) => b / a))).toFixed(0)} % of them`,
)
