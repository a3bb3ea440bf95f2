/**
 * `quench convert` of a Llama of 1.1 billion random BF16 weights beside `cp` with fsync of its safetensors, in turns: seconds, and the peak of
 * memory. The conversion writes the SHA-256 of its source and of its own bytes into the file; what these take alone stands beside.
 *
 *   npm run build && npx tsx bench/convert-speed.ts [LAYERS] [FOLDER]
 *
 * Needs 7 GB of disk in the folder (default: that of temporary files) and a quiet machine. Reads come from the page cache where memory suffices.
 */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createReadStream, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { loadavg, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { type Format, formatNamed } from '../src/formats/index.js'
import { Random } from '../src/random.js'
import { spreadOf } from '../src/speed/spread.js'
import { writeFiles } from '../test/support/checkpoints.js'
import { gaussian } from '../test/support/gaussian.js'
import { byteLevelBpe } from '../test/support/tokenizer-files.js'
import { quench } from './quench-process.js'

const layers = Number(process.argv[2] ?? 25)
const folder = mkdtempSync(join(resolve(process.argv[3] ?? tmpdir()), 'quench-convert-'))
const width = 2048
const feedForward = 5632
const keys = 256
const turns = 3

async function writeRandomCheckpoint(path: string): Promise<number> {
  const text = readFileSync(new URL('../models/quench-5m.test.txt', import.meta.url), 'utf8').slice(0, 50_000)
  const { files, size } = byteLevelBpe(text, 'llama-bpe')
  writeFiles(path, {
    ...files,
    'config.json': {
      ...{ architectures: ['LlamaForCausalLM'], model_type: 'llama', torch_dtype: 'bfloat16' },
      ...{ hidden_size: width, intermediate_size: feedForward, num_hidden_layers: layers },
      ...{ num_attention_heads: 32, num_key_value_heads: 4, rms_norm_eps: 1e-5, rope_theta: 500000 },
      ...{ max_position_embeddings: 2048, vocab_size: size, tie_word_embeddings: false },
    },
  })
  const shapes: [string, number[]][] = [
    ['model.embed_tokens.weight', [size, width]],
    ['model.norm.weight', [width]],
    ['lm_head.weight', [size, width]],
  ]
  for (let layer = 0; layer < layers; layer++)
    for (const [name, ...shape] of [
      ['input_layernorm', width],
      ['post_attention_layernorm', width],
      ['self_attn.q_proj', width, width],
      ['self_attn.k_proj', keys, width],
      ['self_attn.v_proj', keys, width],
      ['self_attn.o_proj', width, width],
      ['mlp.gate_proj', feedForward, width],
      ['mlp.up_proj', feedForward, width],
      ['mlp.down_proj', width, feedForward],
    ] as [string, ...number[]][])
      shapes.push([`model.layers.${layer}.${name}.weight`, shape])
  const header: Record<string, unknown> = {}
  let at = 0
  for (const [name, shape] of shapes) {
    const bytes = 2 * shape.reduce((product, n) => product * n, 1)
    header[name] = { dtype: 'BF16', shape, data_offsets: [at, at + bytes] }
    at += bytes
  }
  const json = Buffer.from(JSON.stringify(header))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(json.length))
  // A million normal values, again and again.
  const pool = (formatNamed('BF16') as Format).encode({ w: gaussian(new Random(7), 1 << 20, 0.02) })
  const file = await open(join(path, 'model.safetensors'), 'w')
  await file.write(Buffer.concat([length, json]))
  for (let done = 0; done < at; done += pool.length)
    await file.write(pool.subarray(0, Math.min(pool.length, at - done)))
  await file.sync()
  await file.close()
  return at
}

async function sha256(path: string): Promise<number> {
  const start = performance.now()
  await pipeline(createReadStream(path, { highWaterMark: 2 ** 20 }), createHash('sha256'))
  return (performance.now() - start) / 1000
}

/** Of `cp` and `sync`, which flushes the copy to the disk. */
function copy(from: string, to: string): number {
  const start = performance.now()
  execFileSync('cp', [from, to])
  execFileSync('sync', [to])
  return (performance.now() - start) / 1000
}

try {
  const checkpoint = join(folder, 'random')
  const bytes = await writeRandomCheckpoint(checkpoint)
  const source = join(checkpoint, 'model.safetensors')
  const copied = join(folder, 'copy')
  const converted = join(folder, 'random.gguf')
  const [load] = loadavg()
  console.log(
    `${(bytes / 2e9).toFixed(2)} billion weights, ${(bytes / 1e9).toFixed(2)} GB; load ${load.toFixed(1)}`,
  )
  const runs: Record<'copying' | 'seconds' | 'peak' | 'hashing' | 'ratio' | 'apart', number>[] = []
  for (let turn = 0; turn < turns; turn++) {
    rmSync(copied, { force: true })
    const copying = copy(source, copied)
    rmSync(copied)
    rmSync(converted, { force: true })
    const { seconds, peak } = await quench('convert', checkpoint, '-o', converted)
    const hashing = (await sha256(source)) + (await sha256(converted))
    runs.push({
      copying,
      seconds,
      peak,
      hashing,
      ratio: seconds / copying,
      apart: (seconds - hashing) / copying,
    })
  }
  const median = (key: keyof (typeof runs)[number]) => {
    const { median: middle, low, high } = spreadOf(runs.map((run) => run[key]))
    return `${middle.toFixed(2)} (${low.toFixed(2)} to ${high.toFixed(2)})`
  }
  console.log(`cp and fsync: ${median('copying')} s`)
  console.log(`quench convert: ${median('seconds')} s, ${median('ratio')} times cp`)
  console.log(
    `SHA-256 of source and file alone: ${median('hashing')} s; the rest is ${median('apart')} times cp`,
  )
  console.log(`peak of memory: ${(Math.max(...runs.map(({ peak }) => peak)) / 1e9).toFixed(2)} GB`)
} finally {
  rmSync(folder, { recursive: true })
}
