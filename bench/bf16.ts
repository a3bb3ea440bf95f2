/**
 * Matrix products on the processor: onnxruntime in f32, by which quench trains, beside libggml in f32 and in bf16, for which
 * it has kernels where a processor has AVX512_BF16. Each engine has its turn in every round.
 *
 *   npx tsx bench/bf16.ts [m,k,n = 2048,2048,2048] [rounds = 9] [ggml's build for the processor = sapphirerapids]
 *
 * A product has 2 m k n operations: inputs (m, k), a matrix (n, k), outputs (m, n).
 */
import koffi from 'koffi'
import { cpu } from '../src/backends/cpu/cpu.js'
import { type Format, formatNamed } from '../src/formats/index.js'
import { input, matmul } from '../src/graph/index.js'
import { library } from '../src/llama/library.js'
import { findLibraries } from '../src/llama/package.js'
import type { Pointer } from '../src/llama/structs.js'
import { Random } from '../src/random.js'
import { threadCount } from '../src/threads.js'
import { quartiles } from './student.js'

const [shape = '2048,2048,2048', rounds = '9', build = 'sapphirerapids'] = process.argv.slice(2)
const [m, k, n] = shape.split(',').map(Number)
const random = new Random(1)
const x = Float32Array.from({ length: m * k }, () => random.normal())
const w = Float32Array.from({ length: n * k }, () => random.normal())

/** x times w transposed by libggml, which rounds the inputs to the type of the matrix. */
function ggmlProduct(type: 'f32' | 'bf16'): () => Float32Array {
  library() // loads what the backends depend on
  const { ggmlBase, cpus } = findLibraries()
  const file = cpus?.find((path) => path.includes(`ggml-cpu-${build}.`))
  if (file === undefined) throw new Error(`This package has no build of ggml for ${build}.`)
  const base = koffi.load(ggmlBase)
  const Params = koffi.struct({ mem_size: 'size_t', mem_buffer: 'void *', no_alloc: 'bool' })
  const newTensor = base.func('ggml_new_tensor_2d', 'void *', ['void *', 'int', 'int64_t', 'int64_t'])
  const data = base.func('ggml_get_data', 'void *', ['void *'])
  const size = 64e6 + 8 * (m * k + n * k + m * n)
  const init = base.func('ggml_init', 'void *', [Params])
  const context: Pointer = init({ mem_size: size, mem_buffer: null, no_alloc: false })
  const matrix: Pointer = newTensor(context, { f32: 0, bf16: 30 }[type], k, n)
  const inputs: Pointer = newTensor(context, 0, k, m)
  const product = base.func('ggml_mul_mat', 'void *', ['void *', 'void *', 'void *'])
  const y: Pointer = product(context, matrix, inputs)
  const graph: Pointer = base.func('ggml_new_graph', 'void *', ['void *'])(context)
  base.func('ggml_build_forward_expand', 'void', ['void *', 'void *'])(graph, y)
  new Float32Array(koffi.view(data(inputs), 4 * m * k)).set(x)
  if (type === 'f32') new Float32Array(koffi.view(data(matrix), 4 * n * k)).set(w)
  else new Uint8Array(koffi.view(data(matrix), 2 * n * k)).set((formatNamed('BF16') as Format).encode({ w }))
  const outputs = new Float32Array(koffi.view(data(y), 4 * m * n))
  const compute = koffi.load(file).func('ggml_graph_compute_with_ctx', 'int', ['void *', 'void *', 'int'])
  return () => {
    if (compute(context, graph, threadCount()) !== 0) throw new Error('ggml could not compute the product.')
    return outputs
  }
}

const [xs, ws] = [input([m, k]), input([n, k])]
const program = await cpu.compile(
  { inputs: { x: xs, w: ws }, outputs: { y: matmul(xs, ws, { transB: true }) } },
  true,
)
const values = { x: cpu.upload(x), w: cpu.upload(w) }
const into = { y: cpu.zeros(m * n) }
const [f32, bf16] = [ggmlProduct('f32'), ggmlProduct('bf16')]
const engines: Record<string, () => Promise<Float32Array>> = {
  'onnxruntime f32': async () => {
    await program.run(values, into)
    return cpu.download(into.y)
  },
  'libggml f32': async () => f32(),
  'libggml bf16': async () => bf16(),
}
const seconds = new Map(Object.keys(engines).map((name) => [name, [] as number[]]))
const errors = new Map<string, number>()
let exact: Float32Array | undefined
for (let round = -1; round < Number(rounds); round++) {
  for (const [name, run] of Object.entries(engines)) {
    const start = performance.now()
    const y = await run()
    if (round >= 0) seconds.get(name)?.push((performance.now() - start) / 1000)
    exact ??= Float32Array.from(y)
    let [squares, all] = [0, 0]
    for (let i = 0; i < y.length; i++) {
      squares += (y[i] - exact[i]) ** 2
      all += exact[i] ** 2
    }
    errors.set(name, Math.sqrt(squares / all))
  }
}
console.log(
  `(${m}, ${k}) times (${n}, ${k}), ${threadCount()} threads, GFLOP/s (middle half), distance from the first engine`,
)
for (const [name, all] of seconds) {
  const { low, median, high } = quartiles(all)
  const [slow, middle, fast] = [high, median, low].map((s) => ((2 * m * k * n) / s / 1e9).toFixed(0))
  console.log(`${name.padEnd(16)} ${middle} (${slow} - ${fast})  ${errors.get(name)?.toExponential(1)}`)
}
