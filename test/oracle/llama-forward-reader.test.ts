/** Hyperparameters and tensors that make no model are refused with a FileError that names the key or tensor. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { FileError } from '../../src/errors.js'
import { createGguf, type Gguf, type GgufValue, openGguf } from '../../src/gguf/index.js'
import { llama } from '../../src/models/llama.js'
import { architectureOf } from '../../src/models/table.js'
import { modelTensors, readModel } from '../../src/models/weights.js'
import { type TinyOptions, writeTinyGguf } from '../support/tiny-gguf.js'

let folder: string
let gguf: Gguf
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-reader-'))
  const path = join(folder, 'tiny.gguf')
  await writeTinyGguf(path, { ropeFreqs: Array(8).fill(1) })
  gguf = await openGguf(path)
})
afterAll(async () => {
  await gguf.close()
  await rm(folder, { recursive: true })
})

const numbers: [name: string, value: GgufValue][] = [
  ['zero', { type: 'uint32', value: 0 }],
  ['huge', { type: 'uint32', value: 2 ** 32 - 1 }],
  ['negative', { type: 'int32', value: -2 }],
  ['not whole', { type: 'float32', value: 2.5 }],
  ['NaN', { type: 'float32', value: Number.NaN }],
  ['infinite', { type: 'float32', value: Number.POSITIVE_INFINITY }],
  ['beyond 2^53', { type: 'uint64', value: 2n ** 60n }],
  ['a string', { type: 'string', value: '2' }],
  ['an array', { type: 'array', itemType: 'uint32', value: Uint32Array.of(2, 2) }],
]
const counts = [
  'context_length',
  'embedding_length',
  'block_count',
  'feed_forward_length',
  'attention.head_count',
  'attention.head_count_kv',
  'attention.key_length',
  'rope.scaling.original_context_length',
]
const factors = [
  'attention.layer_norm_rms_epsilon',
  'rope.freq_base',
  'rope.scaling.factor',
  'rope.scaling.attn_factor',
]

/** Reads the configuration with one key replaced, or removed. */
async function readWith(key: string, value?: GgufValue): Promise<unknown> {
  const before = gguf.metadata.get(key)
  if (value) gguf.metadata.set(key, value)
  else gguf.metadata.delete(key)
  try {
    return await llama.read(gguf)
  } finally {
    if (before) gguf.metadata.set(key, before)
    else gguf.metadata.delete(key)
  }
}

/** That reading fails for a reason that the person is told. */
async function expectRefused(read: Promise<unknown>, message: string | RegExp): Promise<void> {
  const error = await read.catch((e: unknown) => e)
  expect(error).toBeInstanceOf(FileError)
  expect((error as FileError).message).toMatch(message)
}

describe('a count', () => {
  test.each(counts.flatMap((key) => numbers.map(([name, value]) => [key, name, value] as const)))(
    '%s that is %s',
    (key, _, value) => expectRefused(readWith(`llama.${key}`, value), key),
  )
})

describe('a factor', () => {
  const wrong = numbers.filter(([name]) => ['negative', 'NaN', 'infinite', 'a string'].includes(name))
  test.each(factors.flatMap((key) => wrong.map(([name, value]) => [key, name, value] as const)))(
    '%s that is %s',
    (key, name, value) =>
      expectRefused(readWith(`llama.${key}`, value), name === 'a string' ? key : /damaged/),
  )
})

describe('what does not fit together', () => {
  const uint32 = (value: number): GgufValue => ({ type: 'uint32', value })
  test.each([
    ['attention.head_count_kv', uint32(3), /4 attention heads cannot share 3/],
    ['attention.head_count', uint32(6), /key_length.* is 10\.66/],
    ['attention.key_length', uint32(15), /width 15 cannot be rotated/],
    ['attention.value_length', uint32(8), /values of another width/],
    ['rope.dimension_count', uint32(8), /rotates 8 of 16/],
    ['rope.scaling.type', { type: 'string', value: 'longrope' }, /rope scaling "longrope"/],
    ['expert_count', uint32(8), /mixture of experts/],
  ] satisfies [string, GgufValue, RegExp][])('%s', (key, value, message) =>
    expectRefused(readWith(`llama.${key}`, value), message),
  )

  test.each([
    'block_count',
    'embedding_length',
    'context_length',
    'feed_forward_length',
    'attention.head_count',
  ])('no %s', (key) => expectRefused(readWith(`llama.${key}`), /is missing/))

  test('another architecture', async () => {
    gguf.metadata.set('general.architecture', { type: 'string', value: 'mamba' })
    expect(() => architectureOf(gguf)).toThrow(/architecture 'mamba', and quench trains llama/)
    gguf.metadata.set('general.architecture', { type: 'string', value: 'llama' })
    expect(architectureOf(gguf)).toBe(llama)
  })
})

describe('tensors', () => {
  test('are those of the file, in its shapes', async () => {
    const variants: TinyOptions[] = [
      {},
      { tied: true, biases: true },
      { headWidth: 32, headsKV: 1, layers: 3 },
    ]
    for (const options of variants) {
      const path = join(folder, 'variant.gguf')
      await writeTinyGguf(path, options)
      const file = await openGguf(path)
      const shapes = modelTensors(llama, await llama.read(file))
      expect(new Map(file.tensors.map((t) => [t.name, t.shape.toReversed()]))).toEqual(new Map(shapes))
      await file.close()
    }
  })

  /** The file with one tensor in another shape and zero, or without it. */
  async function changed(name: string, shape: readonly number[] | undefined): Promise<Gguf> {
    const path = join(folder, 'changed.gguf')
    const tensors = gguf.tensors
      .filter((t) => t.name !== name || shape !== undefined)
      .map((t) => ({ name: t.name, type: t.type, shape: t.name === name && shape ? shape : t.shape }))
    const writer = await createGguf(path, { metadata: gguf.metadata, tensors })
    for (const t of tensors) {
      const value = t.name === name ? 0 : 1
      const values = new Float32Array(t.shape.reduce((n, d) => n * d, 1)).fill(value)
      await writer.write(t.name, new Uint8Array(values.buffer))
    }
    await writer.finish()
    return openGguf(path)
  }

  test.each([
    ['blk.1.attn_q.weight', [32, 128], /blk\.1\.attn_q\.weight has the shape 32 x 128, not 64 x 64/],
    ['blk.0.ffn_up.weight', [128, 64], /has the shape 128 x 64, not 64 x 128/],
    ['blk.0.attn_norm.weight', [32], /has the shape 32, not 64/],
    ['blk.0.attn_norm.weight', [64, 1], /has the shape 64 x 1, not 64/],
    ['output_norm.weight', undefined, /no tensor 'output_norm\.weight'/],
    ['token_embd.weight', [64 * 271], /token_embd\.weight has the shape 17344/],
    ['token_embd.weight', [32, 542], /token_embd\.weight has the shape 32 x 542, not 64 x 542/],
    ['token_embd.weight', undefined, /no tensor 'token_embd\.weight'/],
    ['rope_freqs.weight', [4], /rope_freqs\.weight has 4 values where 8 are needed/],
    ['rope_freqs.weight', [8], /rope_freqs\.weight holds a value that is not above 0/],
  ] as const)('%s in the shape %s', async (name, shape, message) => {
    const file = await changed(name, shape)
    const read = async (): Promise<unknown> => readModel(file, llama, await llama.read(file))
    await expectRefused(read(), message)
    await file.close()
  })
})
