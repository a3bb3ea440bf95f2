/**
 * libggml reads what quench writes and finds the same: keys, types, values, names, shapes, types, offsets; and its
 * table of types is ours. Signatures from ggml/include/gguf.h and ggml.h of llama.cpp v0.5.0.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import koffi from 'koffi'
import { afterAll, describe, expect, test } from 'vitest'
import { createGguf, type GgufValue, ggmlTypes, Metadata, openGguf } from '../../src/gguf/index.js'
import { valueTypes } from '../../src/gguf/types.js'

const platform = 'linux-x64'
const available = process.platform === 'linux' && process.arch === 'x64'

const scalars: [string, GgufValue][] = [
  ['general.architecture', { type: 'string', value: 'llama' }],
  ['u8', { type: 'uint8', value: 200 }],
  ['i8', { type: 'int8', value: -100 }],
  ['u16', { type: 'uint16', value: 60000 }],
  ['i16', { type: 'int16', value: -30000 }],
  ['u32', { type: 'uint32', value: 4e9 }],
  ['i32', { type: 'int32', value: -2e9 }],
  ['f32', { type: 'float32', value: Math.fround(0.1) }],
  ['f64', { type: 'float64', value: 0.1 }],
  ['u64', { type: 'uint64', value: 2n ** 63n + 5n }],
  ['i64', { type: 'int64', value: -(2n ** 62n) - 1n }],
  ['yes', { type: 'bool', value: true }],
  ['text', { type: 'string', value: 'żółw 🐢' }],
]

const arrays: [string, GgufValue & { type: 'array' }][] = [
  ['u8s', { type: 'array', itemType: 'uint8', value: Uint8Array.of(1, 255) }],
  ['i16s', { type: 'array', itemType: 'int16', value: Int16Array.of(-1, 2, 3) }],
  ['i32s', { type: 'array', itemType: 'int32', value: Int32Array.of(-1, 2) }],
  ['f32s', { type: 'array', itemType: 'float32', value: Float32Array.of(0.1, -0) }],
  ['f64s', { type: 'array', itemType: 'float64', value: Float64Array.of(0.1) }],
  ['u64s', { type: 'array', itemType: 'uint64', value: BigUint64Array.of(2n ** 64n - 1n) }],
  ['bools', { type: 'array', itemType: 'bool', value: Uint8Array.of(1, 0) }],
  ['strings', { type: 'array', itemType: 'string', value: ['', '▁the', 'a\nb'] }],
]

describe.skipIf(!available)('libggml', () => {
  const resolve = createRequire(import.meta.url).resolve
  const folder = mkdtempSync(join(tmpdir(), 'quench-gguf-'))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  const packageFolder = dirname(dirname(resolve(`@node-llama-cpp/${platform}`)))
  const lib = koffi.load(join(packageFolder, 'bins', platform, 'libggml-base.so'))
  const Params = koffi.struct('gguf_init_params', { no_alloc: 'bool', ctx: 'void *' })
  const initFromFile = lib.func('gguf_init_from_file', 'void *', ['str', Params])
  const free = lib.func('void gguf_free(void *)')
  /** A getter of the file that takes one index. */
  const getter = (name: string, result: string) => lib.func(name, result, ['void *', 'int64'])
  const count = (name: string): ((file: unknown) => number) => lib.func(name, 'int64', ['void *'])
  const keyAt = getter('gguf_get_key', 'str')
  const keyType = getter('gguf_get_kv_type', 'int')
  const itemType = getter('gguf_get_arr_type', 'int')
  const itemCount = getter('gguf_get_arr_n', 'size_t')
  const arrayData = getter('gguf_get_arr_data', 'void *')
  const arrayString = lib.func('gguf_get_arr_str', 'str', ['void *', 'int64', 'size_t'])
  const values: Record<string, (file: unknown, key: number) => unknown> = {
    uint8: getter('gguf_get_val_u8', 'uint8'),
    int8: getter('gguf_get_val_i8', 'int8'),
    uint16: getter('gguf_get_val_u16', 'uint16'),
    int16: getter('gguf_get_val_i16', 'int16'),
    uint32: getter('gguf_get_val_u32', 'uint32'),
    int32: getter('gguf_get_val_i32', 'int32'),
    float32: getter('gguf_get_val_f32', 'float'),
    float64: getter('gguf_get_val_f64', 'double'),
    uint64: getter('gguf_get_val_u64', 'uint64'),
    int64: getter('gguf_get_val_i64', 'int64'),
    bool: getter('gguf_get_val_bool', 'bool'),
    string: getter('gguf_get_val_str', 'str'),
  }
  const tensorName = getter('gguf_get_tensor_name', 'str')
  const tensorType = getter('gguf_get_tensor_type', 'int')
  const tensorBytes = getter('gguf_get_tensor_size', 'size_t')
  const tensorOffset = getter('gguf_get_tensor_offset', 'size_t')
  const tensorShape = getter('gguf_get_tensor_ne', 'int64 *')

  test('the table of types is the same', () => {
    const name = lib.func('const char *ggml_type_name(int)')
    const blockSize = lib.func('int64_t ggml_blck_size(int)')
    const blockBytes = lib.func('size_t ggml_type_size(int)')
    for (let type = 0; type <= 42; type++) {
      const ours = ggmlTypes.get(type)
      expect([type, ours?.blockSize ?? 0, ours?.blockBytes ?? 0]).toEqual([
        type,
        blockSize(type),
        blockBytes(type),
      ])
      if (ours) expect(name(type).toUpperCase()).toBe(ours.name)
    }
  })

  test.each([
    [2, 32],
    [3, 32],
    [3, 256],
    [3, 8],
  ] as const)('a written file reads back the same (version %i, alignment %i)', async (version, alignment) => {
    const path = join(folder, `v${version}-${alignment}.gguf`)
    const entries = [...scalars, ...arrays]
    const tensors = [...ggmlTypes.values()].map(({ name, type, blockSize }, i) => {
      const shape = [3 * blockSize, 5, 2, 7].slice(0, 1 + (i % 4))
      return { name: `blk.${i}.${name}`, shape, type }
    })
    const metadata = new Metadata(path, entries).set('general.alignment', {
      type: 'uint32',
      value: alignment,
    })
    const writer = await createGguf(path, { metadata, tensors, version })
    for (const { name, shape, type } of tensors) {
      const { blockSize, blockBytes } = ggmlTypes.get(type)!
      await writer.write(name, new Uint8Array((shape.reduce((a, b) => a * b) / blockSize) * blockBytes))
    }
    await writer.finish()
    const ours = await openGguf(path)
    await ours.close()

    const theirs = initFromFile(path, { no_alloc: true, ctx: null })
    expect(theirs).not.toBeNull()
    expect(count('gguf_get_version')(theirs) & 0xff).toBe(version)
    expect(count('gguf_get_alignment')(theirs)).toBe(alignment)
    expect(count('gguf_get_data_offset')(theirs)).toBe(ours.dataOffset)
    expect(count('gguf_get_n_kv')(theirs)).toBe(metadata.size)
    for (const [i, [key, value]] of [...metadata].entries()) {
      expect(keyAt(theirs, i)).toBe(key)
      expect(valueTypes[keyType(theirs, i)]).toBe(value.type)
      if (value.type !== 'array') {
        const read = values[value.type](theirs, i)
        expect(typeof value.value === 'bigint' ? BigInt(read as number) : read).toBe(value.value)
        continue
      }
      expect(valueTypes[itemType(theirs, i)]).toBe(value.itemType)
      expect(itemCount(theirs, i)).toBe(value.value.length)
      if (value.itemType === 'string') {
        expect(value.value.map((_, n) => arrayString(theirs, i, n))).toEqual(value.value)
      } else if (value.itemType !== 'array') {
        const stored =
          value.itemType === 'bool'
            ? Uint8Array.from(value.value, Number)
            : new Uint8Array(value.value.buffer)
        const read = new Uint8Array(koffi.view(arrayData(theirs, i), stored.length))
        expect(read).toEqual(stored)
      }
    }
    expect(count('gguf_get_n_tensors')(theirs)).toBe(ours.tensors.length)
    for (const [i, tensor] of ours.tensors.entries()) {
      expect(tensorName(theirs, i)).toBe(tensor.name)
      expect(tensorType(theirs, i)).toBe(tensor.type)
      expect(tensorBytes(theirs, i)).toBe(tensor.bytes)
      expect(tensorOffset(theirs, i)).toBe(tensor.offset - ours.dataOffset)
      const shape = koffi.decode(tensorShape(theirs, i), 'int64', 4)
      expect([...shape].map(Number)).toEqual([...tensor.shape, 1, 1, 1].slice(0, 4))
    }
    free(theirs)
  })
})
