/**
 * Writes a Llama-shaped F16 model of random weights with the shipped model's tokenizer, to measure the memory and time of
 * training at real sizes:
 *
 *   npx tsx scripts/random-model.ts 1.1B random-1.1b.gguf
 *   npx quench train random-1.1b.gguf --type Q4_0 -o out.gguf --data README.md --memory 4GB
 *
 * Weights are normal with a standard deviation of 1 / sqrt(inputs), so that activations stay of order one. They are drawn from
 * a pool of four million, each tensor at its own offset.
 */
import { fileURLToPath } from 'node:url'
import { floatsToHalves } from '../src/formats/half.js'
import { createGguf, type Metadata, openGguf } from '../src/gguf/index.js'
import { Random } from '../src/random.js'

const shapes = {
  block: { layers: 1, width: 2048, feedForward: 5632, heads: 32, headsKv: 4 }, // one block of 1.1B, for the benches
  '0.1B': { layers: 12, width: 768, feedForward: 2048, heads: 12, headsKv: 4 },
  '1.1B': { layers: 25, width: 2048, feedForward: 5632, heads: 32, headsKv: 4 },
  '1.5B': { layers: 28, width: 1536, feedForward: 8960, heads: 12, headsKv: 2 },
  '8B': { layers: 36, width: 4096, feedForward: 14_336, heads: 32, headsKv: 8 },
} as const

const [, , size, output] = process.argv
const shape = shapes[size as keyof typeof shapes]
if (!shape || !output) {
  console.error(`usage: npx tsx scripts/random-model.ts ${Object.keys(shapes).join('|')} OUTPUT.gguf`)
  process.exit(2)
}
const { layers, width, feedForward, heads, headsKv } = shape
const shipped = await openGguf(fileURLToPath(new URL('../models/quench-5m-f16.gguf', import.meta.url)))
const vocabulary = shipped.tensor('token_embd.weight').shape[1]
const metadata: Metadata = shipped.metadata
for (const [key, value] of Object.entries({
  'llama.block_count': layers,
  'llama.embedding_length': width,
  'llama.feed_forward_length': feedForward,
  'llama.attention.head_count': heads,
  'llama.attention.head_count_kv': headsKv,
  'llama.rope.dimension_count': width / heads,
}))
  metadata.set(key, { type: 'uint32', value })
metadata.set('general.name', { type: 'string', value: `random ${size}` })
const kv = (width / heads) * headsKv
const block: [string, number[]][] = [
  ['attn_norm', [width]],
  ['attn_q', [width, width]],
  ['attn_k', [width, kv]],
  ['attn_v', [width, kv]],
  ['attn_output', [width, width]],
  ['ffn_norm', [width]],
  ['ffn_gate', [width, feedForward]],
  ['ffn_up', [width, feedForward]],
  ['ffn_down', [feedForward, width]],
]
const tensors: { name: string; shape: number[]; type: number }[] = [
  ['token_embd', [width, vocabulary]] as [string, number[]],
  ...Array.from({ length: layers }, (_, layer) =>
    block.map(([name, dims]): [string, number[]] => [`blk.${layer}.${name}`, dims]),
  ).flat(),
  ['output_norm', [width]] as [string, number[]],
].map(([name, dims]) => ({ name: `${name}.weight`, shape: dims, type: dims.length === 1 ? 0 : 1 }))

const random = new Random(1)
const pool = Float32Array.from({ length: 1 << 22 }, () => random.normal())
const piece = 1 << 20
const writer = await createGguf(output, { metadata, tensors })
for (const { name, shape: dims } of tensors) {
  const count = dims.reduce((n, d) => n * d, 1)
  if (dims.length === 1) {
    await writer.write(name, new Uint8Array(new Float32Array(count).fill(1).buffer))
    continue
  }
  const bytes = new Uint8Array(2 * count)
  for (let at = 0; at < count; at += piece) {
    const from = random.int(pool.length - piece)
    const values = pool.subarray(from, from + Math.min(piece, count - at)).map((x) => x / Math.sqrt(dims[0]))
    bytes.set(new Uint8Array(floatsToHalves(values).buffer), 2 * at)
  }
  await writer.write(name, bytes)
}
await writer.finish()
await shipped.close()
console.log(
  `${output}: ${(tensors.reduce((n, t) => n + t.shape.reduce((a, b) => a * b, 1), 0) / 1e9).toFixed(2)} billion weights`,
)
