/** Tensors of every architecture are those of the file; what makes no model, or one that cannot train, is refused. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { FileError } from '../../src/errors.js'
import { type Gguf, type GgufValue, openGguf } from '../../src/gguf/index.js'
import { architectureOf } from '../../src/models/table.js'
import { modelTensors, readModel } from '../../src/models/weights.js'
import { type TinyVariant, writeTinyVariant } from '../support/tiny-models.js'

const gemma4: TinyVariant = {
  architecture: 'gemma4',
  layers: 5,
  tied: true,
  gemma4: {
    slides: [true, false, true, true, false],
    feedForward: [96, 96, 96, 64, 64],
    headsKV: [2, 1, 2, 2, 1],
    headWidthSliding: 8,
    perLayer: 8,
    shared: 3,
    keysAsValues: [1],
    scales: { 2: 0.8 },
  },
}
const variants: Record<string, TinyVariant> = {
  llama: { architecture: 'llama', joined: true, biases: ['blk.1.attn_qkv', 'blk.0.ffn_up'] },
  qwen2: { architecture: 'qwen2', biases: ['blk.1.attn_k', 'output'] },
  qwen3: { architecture: 'qwen3', tied: true },
  smollm3: { architecture: 'smollm3', layers: 4, biases: ['blk.3.attn_q'] },
  gemma3: { architecture: 'gemma3', layers: 3, metadata: { 'attention.sliding_window': 8 } },
  gemma4,
}

let folder: string
const files = new Map<string, Gguf>()
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-reader-'))
  for (const [name, variant] of Object.entries(variants)) {
    const path = join(folder, `${name}.gguf`)
    await writeTinyVariant(path, variant)
    files.set(name, await openGguf(path))
  }
})
afterAll(async () => {
  for (const gguf of files.values()) await gguf.close()
  await rm(folder, { recursive: true })
})

async function readWith(name: string, changes: Record<string, GgufValue | undefined>): Promise<unknown> {
  const gguf = files.get(name)!
  const before = Object.keys(changes).map(
    (key) => [`${name}.${key}`, gguf.metadata.get(`${name}.${key}`)] as const,
  )
  const apply = (key: string, value: GgufValue | undefined): unknown =>
    value ? gguf.metadata.set(key, value) : gguf.metadata.delete(key)
  for (const [key, value] of Object.entries(changes)) apply(`${name}.${key}`, value)
  try {
    const architecture = architectureOf(gguf)
    return await readModel(gguf, architecture, await architecture.read(gguf))
  } finally {
    for (const [key, value] of before) apply(key, value)
  }
}

async function expectRefused(read: Promise<unknown>, message: string | RegExp): Promise<void> {
  const error = await read.catch((e: unknown) => e)
  expect(error).toBeInstanceOf(FileError)
  expect((error as FileError).message).toMatch(message)
}

const uint32 = (value: number): GgufValue => ({ type: 'uint32', value })
const float32 = (value: number): GgufValue => ({ type: 'float32', value })
const uints = (...values: number[]): GgufValue => ({
  type: 'array',
  itemType: 'uint32',
  value: Uint32Array.from(values),
})

describe.each(Object.keys(variants))('%s', (name) => {
  test('has the tensors of the file, in its shapes', async () => {
    const gguf = files.get(name)!
    const architecture = architectureOf(gguf)
    const shapes = modelTensors(architecture, await architecture.read(gguf))
    const found = gguf.tensors.filter((t) => t.name !== 'rope_freqs.weight')
    expect(new Map(found.map((t) => [t.name, t.shape.toReversed()]))).toEqual(new Map(shapes))
  })

  test('is refused as a mixture of experts', () =>
    expectRefused(readWith(name, { expert_count: uint32(8) }), /mixture of experts/))

  test('is refused with layers that predict further tokens', () =>
    expectRefused(readWith(name, { nextn_predict_layers: uint32(1) }), /predict further tokens/))

  const counts = ['block_count', 'embedding_length', 'feed_forward_length', 'attention.head_count']
  const numbers: [string, GgufValue][] = [
    ['zero', uint32(0)],
    ['huge', uint32(2 ** 32 - 1)],
    ['not whole', float32(2.5)],
    ['NaN', float32(Number.NaN)],
    ['a string', { type: 'string', value: '2' }],
    ['an empty array', uints()],
  ]
  test.each(counts.flatMap((key) => numbers.map(([kind, value]) => [key, kind, value] as const)))(
    '%s that is %s',
    (key, _, value) => expectRefused(readWith(name, { [key]: value }), key),
  )
})

describe('sliding windows of gemma3', () => {
  test.each([
    ['sliding_window', float32(-3), /sliding_window' is -3/],
    ['sliding_window', uint32(2 ** 31), /sliding_window' is 2147483648/],
    ['sliding_window_pattern', uints(1, 0), /has 2 values for 3 layers/],
    ['sliding_window_pattern', uint32(2 ** 30), /sliding_window_pattern' is/],
    [
      'sliding_window_pattern',
      { type: 'array', itemType: 'string', value: ['a', 'b', 'c'] },
      /array of string/,
    ],
  ] satisfies [string, GgufValue, RegExp][])('%s', (key, value, message) =>
    expectRefused(readWith('gemma3', { [`attention.${key}`]: value }), message),
  )
})

describe('what does not fit together in gemma4', () => {
  test.each([
    ['attention.shared_kv_layers', uint32(5), /layer 0 has no keys and values/],
    ['attention.shared_kv_layers', uint32(4), /of another kind/],
    ['attention.shared_kv_layers', uint32(2 ** 24), /has no keys and values/],
    ['attention.head_count_kv', uints(2, 1, 2, 1, 1), /layer 3 .* of another kind/],
    ['attention.head_count_kv', uints(3, 1, 3, 3, 1), /4 attention heads cannot share 3/],
    ['attention.head_count_kv', uints(2, 1), /has 2 values for 5 layers/],
    ['attention.head_count_kv', uints(2, 1, 0, 2, 1), /head_count_kv' is 0/],
    ['feed_forward_length', uints(96, 96, 96, 64, 96), /ffn_gate\.weight has the shape 64 x 64, not 64 x 96/],
    ['attention.sliding_window_pattern', uints(1, 0, 1), /has 3 values for 5 layers/],
    ['attention.sliding_window_pattern', undefined, /is missing/],
    ['attention.sliding_window', undefined, /is missing/],
    ['attention.key_length_swa', uint32(7), /values of another width/],
    ['attention.value_length', uint32(8), /values of another width/],
    ['embedding_length_per_layer_input', undefined, /is missing/],
    ['embedding_length_per_layer_input', uint32(2 ** 24), /per_layer_token_embd\.weight has the shape/],
    ['rope.dimension_count', uint32(18), /rotates 18 of 16/],
    ['rope.dimension_count_swa', uint32(3), /rotates 3 of 8/],
    ['final_logit_softcapping', float32(-1), /final_logit_softcapping' is -1/],
  ] satisfies [string, GgufValue | undefined, RegExp][])('%s: %o', (key, value, message) =>
    expectRefused(readWith('gemma4', { [key]: value }), message),
  )
})
