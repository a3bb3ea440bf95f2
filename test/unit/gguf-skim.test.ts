/** Headers that are read through ranges: what is found is what the whole header says, in at most 2 MiB. */
import { readFileSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test, vi } from 'vitest'
import { inspectFile, inspectRemote } from '../../src/gguf/inspect.js'
import { mostSkimmed, type RangeSource } from '../../src/gguf/skim.js'
import { gguf, keyU32, scratchFolder, str, tensor, u32, u64, writeBytes } from './gguf-bytes.js'

// However busy the machine is.
vi.setConfig({ testTimeout: 100_000 })

const folder = scratchFolder()

class Counted implements RangeSource {
  total = 0
  requests = 0
  constructor(
    readonly name: string,
    readonly bytes: Buffer,
  ) {}
  get size(): number {
    return this.bytes.length
  }
  async read(start: number, end: number): Promise<Uint8Array> {
    this.total += end - start
    this.requests++
    return this.bytes.subarray(start, end)
  }
}

const array = (key: string, type: number, count: number, items: Buffer): Buffer =>
  Buffer.concat([str(key), u32(9), u32(type), u64(count), items])
const strings = (key: string, items: readonly string[]): Buffer =>
  array(key, 8, items.length, Buffer.concat(items.map((item) => str(item))))
const text = (key: string, value: string): Buffer => Buffer.concat([str(key), u32(8), str(value)])

/** A vocabulary as large as the largest models have, laid out as converters write it. */
function large(tokens: number, merges: number, order: readonly ('types' | 'scores' | 'merges')[]): Buffer {
  const words = Array.from({ length: tokens }, (_, i) => `Ġ${i.toString(36)}-${'x'.repeat(i % 13)}`)
  const parts = {
    types: array(
      'tokenizer.ggml.token_type',
      5,
      tokens,
      Buffer.concat(Array.from({ length: tokens }, () => u32(1))),
    ),
    scores: array('tokenizer.ggml.scores', 6, tokens, Buffer.alloc(4 * tokens)),
    merges: strings(
      'tokenizer.ggml.merges',
      Array.from({ length: merges }, (_, i) => `${i.toString(36)} ${'y'.repeat(i % 17)}`),
    ),
  }
  const keys = [
    text('general.architecture', 'llama'),
    keyU32('llama.block_count', 1),
    strings('tokenizer.ggml.tokens', words),
    ...order.map((part) => parts[part]),
    keyU32('tokenizer.ggml.bos_token_id', 1),
    text('tokenizer.chat_template', '{{ "x" * 3 }}'.repeat(500)),
  ]
  const tensors = Array.from({ length: 300 }, (_, i) => tensor(`blk.${i}.attn_q.weight`, [32, 4], 0, i * 512))
  return gguf({ keys, tensors, data: 300 * 512 })
}

describe.each([
  ['of BPE', ['types', 'merges']],
  ['of Unigram', ['scores', 'types']],
] as const)('a vocabulary %s', (_, order) => {
  test('is passed over, and all else is read', async () => {
    const bytes = large(150_000, 280_000, order)
    const source = new Counted('far.gguf', bytes)
    const path = writeBytes(folder, bytes)
    const { files, path: __, metadata, ...found } = await inspectRemote([source])
    const { files: ___, path: ____, metadata: whole, ...expected } = await inspectFile(path)
    expect(found).toEqual(expected)
    expect(Object.keys(metadata)).toEqual(Object.keys(whole))
    expect(metadata).toEqual(whole)
    expect(files).toEqual(['far.gguf'])
    expect(source.total).toBeLessThan(mostSkimmed / 2)
  })
})

test('the model that ships, and a small file', async () => {
  const path = fileURLToPath(new URL('../../models/quench-5m-f16.gguf', import.meta.url))
  const source = new Counted(path, readFileSync(path))
  expect(await inspectRemote([source])).toEqual(await inspectFile(path))
  expect(source.total).toBeLessThan(statSync(path).size / 4)
})

describe('what cannot be read', () => {
  const failure = async (bytes: Buffer): Promise<string> => {
    const source = new Counted('far.gguf', bytes)
    const error = await inspectRemote([source]).catch((error: unknown) => error)
    expect(source.total).toBeLessThanOrEqual(mostSkimmed)
    expect(error).toMatchObject({ name: 'FileError' })
    return (error as Error).message
  }
  test('is said', async () => {
    expect(await failure(Buffer.from('<!doctype html>'.repeat(9)))).toMatch(
      /^far.gguf: this is not a GGUF file/,
    )
    expect(await failure(gguf({ keyCount: 2 ** 40 }))).toMatch(/cannot be read within 2 MiB/)
    const whole = gguf({ tensors: [tensor('a', [32, 4], 0, 0)], data: 512 })
    expect(await failure(whole.subarray(0, whole.length - 100))).toMatch(/truncated/)
    expect(await failure(whole.subarray(0, 40))).toMatch(/the file ends inside its header/)
  })
  test('an endless header ends', async () => {
    const endless = Buffer.concat([
      Buffer.from('GGUF'),
      u32(3),
      u64(1),
      u64(1),
      str('tokenizer.ggml.tokens'),
      u32(9),
      u32(8),
      u64(2 ** 20),
      Buffer.concat(Array.from({ length: 60_000 }, (_, i) => str(`word ${i} ${'x'.repeat(50)}`))),
    ])
    expect(await failure(endless)).toMatch(/^far.gguf: /)
    const zeros = Array.from({ length: 40 }, (_, i) => array(`a.${i}`, 5, 2 ** 24, Buffer.alloc(0)))
    expect(await failure(Buffer.concat([gguf({ keys: zeros }), Buffer.alloc(2 ** 20)]))).toMatch(
      /truncated|2 MiB/,
    )
  })
  test('two arrays of strings side by side are told or read right', async () => {
    const words = Array.from({ length: 60_000 }, (_, i) => `w${i}`)
    const keys = [strings('a.b', words), strings('c.d', words), text('general.architecture', 'llama')]
    const bytes = gguf({ keys, tensors: [tensor('a', [32, 4], 0, 0)], data: 512 })
    const found = await inspectRemote([new Counted('far.gguf', bytes)]).catch((error: Error) => error.message)
    if (typeof found === 'string') expect(found).toMatch(/cannot be read within 2 MiB/)
    else expect(Object.keys(found.metadata)).toEqual(['a.b', 'c.d', 'general.architecture'])
  })
})
