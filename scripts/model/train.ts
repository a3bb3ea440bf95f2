/**
 * Trains the shipped model from scratch, with the engine of `quench train`:
 *
 *   npx tsx scripts/model/train.ts OUT.gguf [--steps 3000] [--rate 0.003]
 *
 * A Llama of 4.5 million parameters (5 blocks of width 256, 4 heads over 2 key-value heads, feed-forward 768, tied output,
 * 2,048 byte-level BPE tokens) on Moby Dick and the State of the Union addresses (corpus.ts). Cross-entropy, windows of 512
 * tokens that start with <|endoftext|>, Adam, warm-up and cosine. Everything is seeded.
 */
import { parseArgs } from 'node:util'
import { cpu } from '../../src/backends/cpu/cpu.js'
import { Network } from '../../src/engine/network.js'
import { F16 } from '../../src/formats/types/f16.js'
import { F32 } from '../../src/formats/types/f32.js'
import { createGguf, Metadata } from '../../src/gguf/index.js'
import { llama } from '../../src/models/llama.js'
import { modelTensors } from '../../src/models/weights.js'
import { optimize } from '../../src/optimizer/optimizer.js'
import { Optimizer, Parameter } from '../../src/optimizer/parameter.js'
import { rateAt } from '../../src/optimizer/schedule.js'
import { Random } from '../../src/random.js'
import { learnBpe } from './bpe.js'
import { shippedConfig } from './config.js'
import { loadCorpus } from './corpus.js'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    steps: { type: 'string', default: '3000' },
    rate: { type: 'string', default: '0.003' },
    windows: { type: 'string', default: '4' },
    seed: { type: 'string', default: '1' },
  },
})
const out = positionals[0]
if (!out) throw new Error('say where to write the model: npx tsx scripts/model/train.ts OUT.gguf')
const steps = Number(values.steps)
const rate = Number(values.rate)
const { context: length } = shippedConfig

const corpus = loadCorpus()
const bpe = learnBpe(
  corpus.train.map((d) => d.text),
  2048,
)
const stream = (documents: { text: string }[]): Int32Array =>
  Int32Array.from(documents.flatMap((d) => [bpe.endOfText, ...bpe.encode(d.text)]))
const train = stream(corpus.train)
const validation = stream(corpus.validation)

const config = shippedConfig
const [block] = config.blocks
const random = new Random(Number(values.seed))
const parameters = [...modelTensors(llama, config)].map(([name, shape]) => {
  const size = shape.reduce((n, d) => n * d, 1)
  // Matrices that add to the residual stream start small, by the number of additions (GPT-2).
  const residual = /attn_output|ffn_down/.test(name) ? 1 / Math.sqrt(2 * config.layers) : 1
  const start =
    shape.length === 1
      ? new Float32Array(size).fill(1)
      : Float32Array.from({ length: size }, () => random.normal() * 0.03 * residual)
  return Parameter.plain(cpu, name, shape, start, 1)
})
const optimizer = new Optimizer()
for (const p of parameters) await p.round()
const weights = new Map(parameters.map((p) => [p.name, p.weights]))
const gradients = new Map(parameters.map((p) => [p.name, p.gradient]))
const network = new Network(cpu, llama, config, { windows: Number(values.windows), length })
console.log(
  `${parameters.reduce((n, p) => n + p.weights.length, 0)} parameters, ${train.length} training tokens, ${steps} steps of ${network.tokens}`,
)

/** Windows that start with <|endoftext|>, and the next token of each of their tokens. */
function windowsAt(tokens: Int32Array, starts: readonly number[]): { ids: Int32Array; next: Int32Array } {
  const ids = new Int32Array(starts.length * length)
  const next = new Int32Array(starts.length * length)
  starts.forEach((start, i) => {
    const window = tokens.subarray(start, start + length)
    ids[i * length] = bpe.endOfText
    ids.set(window.subarray(0, length - 1), i * length + 1)
    next.set(window, i * length)
  })
  return { ids, next }
}

async function validate(): Promise<number> {
  let loss = 0
  const rounds = 8
  for (let r = 0; r < rounds; r++) {
    const starts = Array.from(
      { length: network.batch.windows },
      (_, i) => (r * network.batch.windows + i) * length,
    )
    const { ids, next } = windowsAt(validation, starts)
    await network.forward(ids, weights)
    loss += await network.loss(weights, { kind: 'tokens', tokens: next })
  }
  return loss / (rounds * network.tokens)
}

async function save(path: string): Promise<void> {
  const metadata = new Metadata(path, [
    ['general.architecture', { type: 'string', value: 'llama' }],
    ['general.name', { type: 'string', value: 'quench 5M' }],
    [
      'general.description',
      { type: 'string', value: 'A small model of Moby Dick and the State of the Union addresses' },
    ],
    ['general.license', { type: 'string', value: 'mit' }],
    ['general.file_type', { type: 'uint32', value: 1 }],
    ['general.size_label', { type: 'string', value: '5M' }],
    ['llama.block_count', { type: 'uint32', value: config.layers }],
    ['llama.context_length', { type: 'uint32', value: config.context }],
    ['llama.embedding_length', { type: 'uint32', value: config.width }],
    ['llama.feed_forward_length', { type: 'uint32', value: block.feedForward }],
    ['llama.attention.head_count', { type: 'uint32', value: block.attention.heads }],
    ['llama.attention.head_count_kv', { type: 'uint32', value: block.attention.kvHeads }],
    ['llama.attention.layer_norm_rms_epsilon', { type: 'float32', value: config.normEpsilon }],
    ['llama.rope.dimension_count', { type: 'uint32', value: block.attention.headWidth }],
    ['llama.rope.freq_base', { type: 'float32', value: 10_000 }],
    ['llama.vocab_size', { type: 'uint32', value: config.vocabulary }],
    ...bpe.metadata(),
  ])
  const tensors = parameters.map((p) => ({
    name: p.name,
    shape: p.shape.toReversed(),
    type: p.shape.length === 1 ? F32.type : F16.type,
  }))
  const writer = await createGguf(path, { metadata, tensors })
  for (const [i, p] of parameters.entries()) {
    const format = tensors[i].type === F32.type ? F32 : F16
    await writer.write(p.name, format.encode({ w: await cpu.download(p.weights) }))
  }
  await writer.finish()
}

const started = performance.now()
let average = 0
for (let step = 1; step <= steps; step++) {
  const starts = Array.from({ length: network.batch.windows }, () => random.int(train.length - length))
  const { ids, next } = windowsAt(train, starts)
  await network.forward(ids, weights)
  const loss =
    (await network.backward(ids, weights, { kind: 'tokens', tokens: next }, gradients)) / network.tokens
  average = step === 1 ? loss : 0.98 * average + 0.02 * loss
  const share = rateAt({ steps, warmup: 100, floor: 0.01 }, step)
  const norm = await optimize(
    parameters,
    optimizer,
    { weightRate: rate * share, scaleRate: rate * share },
    { tokens: network.tokens, clip: 1, number: step },
  )
  if (step % 20 === 0 || step === steps) {
    const seconds = (performance.now() - started) / 1000
    const speed = ((step * network.tokens) / seconds).toFixed(0)
    console.log(
      `${step}/${steps} loss ${average.toFixed(4)} norm ${norm.toFixed(3)} ${speed} tokens/s ${seconds.toFixed(0)} s`,
    )
  }
  if (step % 250 === 0 || step === steps) {
    console.log(`validation ${(await validate()).toFixed(4)} nats per token`)
    await save(out)
  }
}
