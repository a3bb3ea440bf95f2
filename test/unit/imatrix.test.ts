/** Files of importance matrices: both forms, damaged and hostile ones, and those of another model. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { FileError } from '../../src/errors.js'
import { createGguf, Metadata, openGguf } from '../../src/gguf/index.js'
import { openImatrix, readImatrix } from '../../src/quantize/imatrix/file.js'
import { importanceOfModel } from '../../src/quantize/imatrix/of-model.js'
import { int32, legacyEntry, text, writeGgufImatrix, writeLegacyImatrix } from '../support/imatrix.js'
import { gguf, keyU32, scratchFolder, str, tensor, u32, u64, writeBytes } from './gguf-bytes.js'

const folder = scratchFolder()
const at = (name: string): string => join(folder, name)
const entry = (name: string, ...values: number[]) => ({ name, values: Float32Array.from(values) })
const entries = [entry('blk.0.attn_q.weight', 1, 2.5, 0.1), entry('blk.0.ffn_down.weight', 4, 0)]

describe('reading', () => {
  test.each([
    ['GGUF', writeGgufImatrix],
    ['older', writeLegacyImatrix],
  ] as const)('the %s form gives means, texts and chunks', async (form, write) => {
    const path = at(form)
    await write(path, entries)
    const { importance, datasets, chunks } = await readImatrix(path)
    expect([...importance]).toEqual(entries.map(({ name, values }) => [name, values]))
    expect({ datasets, chunks }).toEqual({ datasets: ['text.txt'], chunks: 2 })
  })

  test('an expert that no token reached counts as 1 everywhere, and halves of counts are rounded', async () => {
    const path = at('experts')
    await writeRaw(path, [2, 3], [8, 4, 6, 1, 1, 1], [1.9, 0])
    const { importance } = await readImatrix(path)
    expect([...(importance.get('e') ?? [])]).toEqual([4, 2, 3, 1, 1, 1])
  })

  test('the older form may end after its entries, and an entry without calls is taken as it is', async () => {
    const path = at('short')
    writeFileSync(path, Buffer.concat([int32(1), legacyEntry(entry('a', 3, 5)).fill(0, 5, 9)]))
    expect(await readImatrix(path)).toEqual({
      importance: new Map([['a', Float32Array.of(6, 10)]]),
      datasets: [],
      chunks: 0,
    })
  })
})

/** Sums and counts as they are given, of an entry `e` with one row for each count. */
async function writeRaw(path: string, [count, length]: number[], sums: number[], counts: number[]) {
  const metadata = new Metadata(path, [
    ['imatrix.datasets', { type: 'array', itemType: 'string', value: [] }],
    ['imatrix.chunk_count', { type: 'uint32', value: 1 }],
    ['imatrix.chunk_size', { type: 'uint32', value: 512 }],
  ])
  const tensors = [
    { name: 'e.in_sum2', shape: [length, count], type: 0 },
    { name: 'e.counts', shape: [1, counts.length], type: 0 },
  ]
  const writer = await createGguf(path, { metadata, tensors })
  await writer.write('e.in_sum2', new Uint8Array(Float32Array.from(sums).buffer))
  await writer.write('e.counts', new Uint8Array(Float32Array.from(counts).buffer))
  await writer.finish()
}

const one = legacyEntry(entry('a', 1))
const keys = [
  Buffer.concat([str('imatrix.datasets'), u32(9), u32(8), u64(0)]),
  keyU32('imatrix.chunk_count', 1),
  keyU32('imatrix.chunk_size', 512),
]
const sums = tensor('a.in_sum2', [4], 0, 0)
const counts = tensor('a.counts', [1], 0, 32)

const hostile: [string, Buffer, string][] = [
  ['empty', Buffer.alloc(0), 'it is not an importance matrix'],
  ['two bytes', Buffer.from('GG'), 'it is not an importance matrix'],
  ['a text', Buffer.from('Once upon a time there was a text.\n'), 'it is not an importance matrix'],
  ['no entries', int32(0), 'it is not an importance matrix'],
  ['a negative count', Buffer.concat([int32(-1), one]), 'it is not an importance matrix'],
  ['a count without bytes', Buffer.concat([int32(60_000), one]), 'it is not an importance matrix'],
  [
    'a count of 2^31',
    Buffer.concat([int32(2 ** 31 - 1), Buffer.alloc(64)]),
    'it is not an importance matrix',
  ],
  ['a long name', Buffer.concat([int32(1), int32(2 ** 31 - 1), Buffer.alloc(64)]), 'entry 0 claims a text'],
  ['a negative name', Buffer.concat([int32(1), int32(-5), Buffer.alloc(64)]), 'entry 0 claims a text'],
  ['no name', Buffer.concat([int32(1), text(''), Buffer.alloc(64)]), 'entry 0 has no name'],
  ['twice', Buffer.concat([int32(2), one, one]), "the entry 'a' is there twice"],
  [
    'values of 8 GiB',
    Buffer.concat([int32(1), text('a'), int32(1), int32(2 ** 31 - 1), Buffer.alloc(64)]),
    "the entry 'a' claims 2147483647 values",
  ],
  [
    'negative values',
    Buffer.concat([int32(1), text('a'), int32(1), int32(-1), Buffer.alloc(64)]),
    "the entry 'a' claims -1 values",
  ],
  [
    'cut off',
    Buffer.concat([int32(2), legacyEntry(entry('a', 1, 2, 3, 4, 5)), text('b'), Buffer.alloc(6)]),
    'in the middle of an entry',
  ],
  ['a long dataset', Buffer.concat([int32(1), one, int32(1), int32(1000)]), 'the name of its text claims'],
  ['NaN', Buffer.concat([int32(1), legacyEntry(entry('a', Number.NaN))]), 'holds NaN, which is no mean'],
  ['infinity', Buffer.concat([int32(1), legacyEntry(entry('a', 1 / 0))]), 'holds Infinity'],
  ['a negative mean', Buffer.concat([int32(1), legacyEntry(entry('a', -1))]), 'holds -1'],
  [
    'a model',
    gguf({ tensors: [tensor('a', [4], 0, 0)], data: 32 }),
    'it has no tensors that end in .in_sum2',
  ],
  ['no keys', gguf({ tensors: [sums, counts], data: 64 }), "the metadata key 'imatrix.datasets' is missing"],
  ['no counts', gguf({ keys, tensors: [sums], data: 64 }), "the entry 'a' has sums but no counts"],
  [
    'no sums',
    gguf({ keys, tensors: [sums, counts, tensor('b.counts', [1], 0, 64)], data: 96 }),
    "it has 'b.counts' without the sums",
  ],
  [
    'F16',
    gguf({ keys, tensors: [tensor('a.in_sum2', [4], 1, 0), counts], data: 64 }),
    "has 'a.in_sum2' as F16 where F32 should be",
  ],
  [
    'counts',
    gguf({ keys, tensors: [sums, tensor('a.counts', [3], 0, 32)], data: 64 }),
    'has 3 counts for 4 sums',
  ],
  ['cut off data', gguf({ keys, tensors: [sums, counts], data: 8 }), 'it is truncated'],
]

test.each(hostile)('%s', async (_, bytes, message) => {
  const path = writeBytes(folder, bytes)
  const error = await readImatrix(path).catch((error: unknown) => error)
  expect(error).toBeInstanceOf(FileError)
  expect((error as FileError).message).toContain(`${path}: `)
  expect((error as FileError).message).toContain(message)
})

describe('beside a model', () => {
  const names = ['token_embd.weight', 'blk.0.attn_q.weight', 'blk.0.ffn_down_exps.weight']
  async function model() {
    const path = at('model.gguf')
    const tensors = names.map((name) => ({
      name,
      shape: name.includes('exps') ? [2, 3, 2] : [3, 3],
      type: 0,
    }))
    const writer = await createGguf(path, { metadata: new Metadata(path), tensors })
    for (const { name, shape } of tensors)
      await writer.write(name, new Uint8Array(4 * shape.reduce((a, b) => a * b)))
    await writer.finish()
    return openGguf(path)
  }
  async function together(...own: ReturnType<typeof entry>[]) {
    const path = at('of-model.gguf')
    await writeGgufImatrix(path, own, { chunks: 0, datasets: ['ä'.repeat(100), 'b'] })
    const [file, opened] = [await openImatrix(path), await model()]
    return importanceOfModel(file, opened).finally(() => Promise.all([file.close(), opened.close()]))
  }
  const q = entry('blk.0.attn_q.weight', 1, 2, 3)
  const exps = entry('blk.0.ffn_down_exps.weight', 1, 2, 3, 4)

  test('what fits is used, and where it is from is told as llama-quantize does', async () => {
    const found = await together(q, exps)
    expect([...found.importance]).toEqual([q, exps].map(({ name, values }) => [name, values]))
    expect(found.warnings).toEqual([])
    expect(Array.from(found.metadata, ([key, { value }]) => [key, value])).toEqual([
      ['quantize.imatrix.file', at('of-model.gguf')],
      ['quantize.imatrix.dataset', `${'ä'.repeat(63)}\udcc3`], // 127 bytes
      ['quantize.imatrix.entries_count', 2],
    ])
  })

  test('other entries are named', async () => {
    const others = [entry('blk.1.attn_q.weight', 1), entry('token_embd.weight', 1), entry('x', 1)]
    const { importance, warnings, zeros } = await together(entry(q.name, 0, 0, 0), ...others)
    expect([...importance.keys()]).toEqual([q.name])
    expect([...zeros]).toEqual([q.name])
    const path = at('of-model.gguf')
    expect(warnings).toEqual([
      `${path}: 2 of 4 entries are not of this model and not used: 'blk.1.attn_q.weight' and 'x'`,
      `${path}: 1 of 4 entries are not as long as their tensors and not used: 'token_embd.weight'`,
      `${path}: 1 of 4 entries are all zeros, so the rounding of their tensors is arbitrary: 'blk.0.attn_q.weight'`,
    ])
  })

  test('a matrix of another model is refused', async () => {
    await expect(together(entry('a', 1), entry('b', 1))).rejects.toThrow(
      /none of its 2 entries is a tensor of .*model\.gguf, such as 'a'; it is of another model/,
    )
    await expect(together(entry(q.name, 1, 2), exps)).rejects.toThrow(
      /the entry 'blk\.0\.attn_q\.weight' has 2 values and the tensor of .*model\.gguf has 3 inputs/,
    )
  })
})
