/** Reading and writing GGUF files: all value types, tensors, partial reads, the typed accessors, the writer's checks. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { FileError } from '../../src/errors.js'
import { encodeHeader } from '../../src/gguf/encode.js'
import {
  createGguf,
  type GgufValue,
  ggmlTypeNamed,
  ggmlTypes,
  Metadata,
  openGguf,
} from '../../src/gguf/index.js'
import { hasZero, storedBytes } from '../../src/gguf/stored-strings.js'
import { gguf, scratchFolder, str, tensor, u32, u64, writeBytes } from './gguf-bytes.js'

const folder = scratchFolder()

const everyType: [string, GgufValue][] = [
  ['general.architecture', { type: 'string', value: 'llama' }],
  ['u8', { type: 'uint8', value: 255 }],
  ['i8', { type: 'int8', value: -128 }],
  ['u16', { type: 'uint16', value: 65535 }],
  ['i16', { type: 'int16', value: -32768 }],
  ['u32', { type: 'uint32', value: 4294967295 }],
  ['i32', { type: 'int32', value: -2147483648 }],
  ['f32', { type: 'float32', value: Math.fround(1e-5) }],
  ['f64', { type: 'float64', value: Number.NaN }],
  ['u64', { type: 'uint64', value: 2n ** 64n - 1n }],
  ['i64', { type: 'int64', value: -(2n ** 63n) }],
  ['yes', { type: 'bool', value: true }],
  ['no', { type: 'bool', value: false }],
  ['text', { type: 'string', value: 'żółw 🐢 \u0000 \ufffd end' }],
  ['empty', { type: 'string', value: '' }],
  ['not utf-8', { type: 'string', value: 'a\udc80\udcffé🐢\udced' }],
  ['u8s', { type: 'array', itemType: 'uint8', value: Uint8Array.of(0, 1, 255) }],
  ['i8s', { type: 'array', itemType: 'int8', value: Int8Array.of(-1) }],
  ['u16s', { type: 'array', itemType: 'uint16', value: Uint16Array.of(1, 65535) }],
  ['i16s', { type: 'array', itemType: 'int16', value: Int16Array.of(-3) }],
  ['u32s', { type: 'array', itemType: 'uint32', value: Uint32Array.of(7, 4294967295) }],
  ['i32s', { type: 'array', itemType: 'int32', value: Int32Array.of(-7) }],
  ['f32s', { type: 'array', itemType: 'float32', value: Float32Array.of(0.1, -0, Number.POSITIVE_INFINITY) }],
  ['f64s', { type: 'array', itemType: 'float64', value: Float64Array.of(0.1) }],
  ['u64s', { type: 'array', itemType: 'uint64', value: BigUint64Array.of(1n, 2n ** 64n - 1n) }],
  ['i64s', { type: 'array', itemType: 'int64', value: BigInt64Array.of(-1n) }],
  ['bools', { type: 'array', itemType: 'bool', value: Uint8Array.of(1, 0, 1) }],
  ['strings', { type: 'array', itemType: 'string', value: ['', '▁the', 'a\nb'] }],
  ['none', { type: 'array', itemType: 'float32', value: new Float32Array() }],
  [
    'nested',
    {
      type: 'array',
      itemType: 'array',
      value: [
        { type: 'array', itemType: 'int32', value: Int32Array.of(1, 2) },
        { type: 'array', itemType: 'string', value: ['x'] },
        {
          type: 'array',
          itemType: 'array',
          value: [{ type: 'array', itemType: 'bool', value: Uint8Array.of(1) }],
        },
      ],
    },
  ],
]

const bytesOf = (length: number) => Uint8Array.from({ length }, (_, i) => (i * 7 + 3) % 256)

test.each([2, 3] as const)(
  'every value type and odd sizes of tensors survive a round trip (version %i)',
  async (version) => {
    const path = join(folder, `all-${version}.gguf`)
    const metadata = new Metadata(path, everyType)
    const tensors = [
      { name: 'token_embd.weight', shape: [256, 3], type: ggmlTypeNamed('Q4_K')!.type },
      { name: 'one', shape: [1], type: 0 },
      { name: 'żółw', shape: [32, 1, 2, 3], type: ggmlTypeNamed('Q8_0')!.type },
    ]
    const writer = await createGguf(path, { metadata, tensors, version, alignment: 64 })
    await writer.write('token_embd.weight', bytesOf(432).subarray(0, 100))
    await writer.write('token_embd.weight', new Uint8Array(0))
    await writer.write('token_embd.weight', bytesOf(432).subarray(100))
    await writer.write('one', bytesOf(4))
    await writer.write('żółw', bytesOf(204))
    await writer.finish()
    expect(metadata.has('general.alignment')).toBe(false) // the caller's object is left alone

    const file = await openGguf(path)
    expect(file.version).toBe(version)
    expect(file.alignment).toBe(64)
    expect([...file.metadata]).toEqual([...everyType, ['general.alignment', { type: 'uint32', value: 64 }]])
    expect(file.tensors.map(({ name, shape, type }) => ({ name, shape, type }))).toEqual(tensors)
    expect(file.tensors.map((t) => [t.elements, t.bytes, t.offset - file.dataOffset])).toEqual([
      [768, 432, 0],
      [1, 4, 448],
      [192, 204, 512],
    ])
    expect(await file.read(file.tensor('token_embd.weight'))).toEqual(bytesOf(432))
    expect(await file.read(file.tensor('żółw'), 200)).toEqual(bytesOf(204).subarray(200))
    expect(await file.read(file.tensor('żółw'), 34, 68)).toEqual(bytesOf(204).subarray(34, 102))
    await expect(file.read(file.tensor('one'), 2, 3)).rejects.toThrow(RangeError)
    expect(file.has('two')).toBe(false)
    expect(() => file.tensor('two')).toThrow(new FileError(path, "there is no tensor 'two'"))
    await file.close()
    expect(readFileSync(path).length % 64).toBe(0)
  },
)

test('what was read is written again byte for byte', async () => {
  const first = join(folder, 'all-3.gguf')
  const second = join(folder, 'again.gguf')
  const file = await openGguf(first)
  const writer = await createGguf(second, file)
  for (const tensor of file.tensors) await writer.write(tensor.name, await file.read(tensor))
  await writer.finish()
  await file.close()
  expect(readFileSync(second).equals(readFileSync(first))).toBe(true)
})

test('a header larger than the read window parses, strings and arrays across its edges too', async () => {
  const path = join(folder, 'large.gguf')
  const tokens = Array.from({ length: 262_144 }, (_, i) => `▁token${i}`)
  const scores = Float32Array.from(tokens, (_, i) => -i)
  const long = 'x'.repeat(3 * 2 ** 20)
  const metadata = new Metadata(path)
    .set('tokens', { type: 'array', itemType: 'string', value: tokens })
    .set('scores', { type: 'array', itemType: 'float32', value: scores })
    .set('long', { type: 'string', value: long })
    .set('last', { type: 'uint8', value: 1 })
  await (await createGguf(path, { metadata, tensors: [] })).finish()
  const file = await openGguf(path)
  await file.close()
  expect(file.metadata.strings('tokens')).toEqual(tokens)
  expect(file.metadata.numbers('scores')).toEqual([...scores])
  expect(file.metadata.string('long') === long).toBe(true)
  expect(file.metadata.number('last')).toBe(1)
})

test('bytes that are not UTF-8 are kept', async () => {
  const raw = Buffer.from([
    0x61, 0xc0, 0x80, 0xed, 0xa0, 0x80, 0xf0, 0x9f, 0x90, 0xf5, 0xe2, 0x82, 0xac, 0xc3,
  ])
  const path = writeBytes(folder, gguf({ keys: [Buffer.concat([str('token'), u32(8), str(raw)])] }))
  const file = await openGguf(path)
  await file.close()
  expect(file.metadata.string('token')).toContain('€')
  const copy = join(folder, 'raw.gguf')
  await (await createGguf(copy, file)).finish()
  expect(readFileSync(copy).includes(raw)).toBe(true)
})

test('a tensor without dimensions is one number; gaps between tensors are allowed', async () => {
  const tensors = [tensor('scale', [], 0, 0), tensor('b', [8], 0, 64)]
  const file = await openGguf(writeBytes(folder, gguf({ tensors, data: 96 })))
  await file.close()
  expect(file.tensors.map((t) => [t.shape, t.bytes])).toEqual([
    [[1], 4],
    [[8], 32],
  ])
})

test('the typed accessors of metadata', () => {
  const metadata = new Metadata('model.gguf', everyType)
  expect(metadata.number('i8')).toBe(-128)
  expect(metadata.number('f32')).toBe(Math.fround(1e-5))
  expect(metadata.number('absent', 7)).toBe(7)
  expect(metadata.string('absent', '')).toBe('')
  expect(metadata.boolean('absent', false)).toBe(false)
  expect(metadata.boolean('yes')).toBe(true)
  expect(metadata.numbers('i64s')).toEqual([-1])
  expect(metadata.strings('strings')).toEqual(['', '▁the', 'a\nb'])
  const message = (read: () => unknown) => {
    try {
      return read()
    } catch (error) {
      return error instanceof FileError ? error.message : error
    }
  }
  expect(message(() => metadata.number('absent'))).toBe("model.gguf: the metadata key 'absent' is missing")
  expect(message(() => metadata.number('u64'))).toContain("'u64' is too large (18446744073709551615)")
  expect(message(() => metadata.numbers('u64s'))).toContain("'u64s' has a value that is too large")
  expect(message(() => metadata.number('text', 1))).toContain("'text' should be a number but is string")
  expect(message(() => metadata.string('u8'))).toContain("'u8' should be a string but is uint8")
  expect(message(() => metadata.boolean('u8'))).toContain('should be a boolean')
  expect(message(() => metadata.strings('u8s'))).toContain(
    'should be an array of strings but is an array of uint8',
  )
  expect(message(() => metadata.numbers('strings'))).toContain('should be an array of numbers')
})

test('the writer refuses what a file cannot hold, and leaves nothing behind', async () => {
  const path = join(folder, 'refused.gguf')
  const create = (
    key: string,
    value: GgufValue,
    tensors: { name: string; shape: number[]; type: number }[] = [],
  ) => createGguf(path, { metadata: new Metadata(path).set(key, value), tensors })
  const fine: GgufValue = { type: 'uint8', value: 1 }
  const one = { name: 'one', shape: [1], type: 0 }
  const cases: [Promise<unknown>, string][] = [
    [create('k', { type: 'uint8', value: 256 }), "'k' holds 256, which is no uint8"],
    [create('k', { type: 'int32', value: 0.5 }), 'holds 0.5, which is no int32'],
    [create('k', { type: 'int64', value: 2n ** 63n }), 'is no int64'],
    [create('k', { type: 'string', value: 'a\ud800' }), 'lone surrogate'],
    [create('', fine), 'a metadata key has no name'],
    [create('general.alignment', { type: 'uint32', value: 48 }), 'must be a power of two'],
    [create('k', fine, [one, one]), 'two tensors have the same name'],
    [create('k', fine, [{ ...one, name: 'n'.repeat(64) }]), 'longer than 63 bytes'],
    [create('k', fine, [{ ...one, shape: [] }]), 'has 0 dimensions'],
    [create('k', fine, [{ ...one, shape: [0] }]), 'has the shape 0'],
    [create('k', fine, [{ ...one, shape: [31], type: 2 }]), 'cannot cut into blocks of 32'],
    [create('k', fine, [{ ...one, type: 4 }]), 'has the type 4'],
  ]
  for (const [refused, message] of cases) await expect(refused).rejects.toThrow(message)

  const two = [one, { ...one, name: 'two' }]
  const start = () => create('k', fine, two)
  const early = await start()
  await early.write('one', new Uint8Array(2))
  await expect(early.write('two', new Uint8Array(4))).rejects.toThrow("'one' still needs 2 bytes")
  await expect(early.finish()).rejects.toThrow('the writer is closed')
  await expect((await start()).write('one', new Uint8Array(5))).rejects.toThrow('takes 4 bytes but got more')
  await expect((await start()).finish()).rejects.toThrow("'one' still needs 4 bytes")
  const late = await start()
  await late.write('one', new Uint8Array(4))
  await late.write('two', new Uint8Array(4))
  await expect(late.write('two', new Uint8Array(4))).rejects.toThrow('all are complete')
  const given = await start()
  await given.abort()
  await given.abort()
  expect(readdirSync(folder).filter((name) => name.includes('refused'))).toEqual([])
})

test('the table of types', () => {
  expect(ggmlTypes.size).toBe(35)
  expect(ggmlTypeNamed('Q4_K')).toEqual({ type: 12, name: 'Q4_K', blockSize: 256, blockBytes: 144 })
  for (const removed of [4, 5, 31, 32, 33, 36, 37, 38, 43]) expect(ggmlTypes.has(removed)).toBe(false)
})

test('a count that is right for its bytes is read to the last one', async () => {
  const items = Buffer.concat([str('k'), u32(9), u32(0), u64(5), Buffer.from([1, 2, 3, 4, 5])])
  const file = await openGguf(writeBytes(folder, gguf({ keys: [items] })))
  await file.close()
  expect(file.metadata.numbers('k')).toEqual([1, 2, 3, 4, 5])
})

test('arrays of strings are written from their stored bytes until they are decoded, and as changed afterwards', async () => {
  const value = ['', 'a\udc80', 'żółw', 'x'.repeat(300)]
  const path = writeBytes(
    folder,
    encodeHeader(3, 32, new Metadata('', [['tokens', { type: 'array', itemType: 'string', value }]]), []),
  )
  const encoded = async (change: (strings: string[]) => void): Promise<Buffer> => {
    const file = await openGguf(path)
    await file.close()
    const array = file.metadata.get('tokens')
    if (array?.type !== 'array' || array.itemType !== 'string') throw new Error('not the array of strings')
    expect(storedBytes(array)?.count).toBe(4)
    expect(hasZero(array)).toBe(false)
    change(array.value)
    expect(storedBytes(array)).toBeUndefined()
    expect(hasZero(array)).toBe(array.value.includes('\0'))
    return encodeHeader(3, 32, file.metadata, [])
  }
  const untouched = await openGguf(path)
  await untouched.close()
  expect(encodeHeader(3, 32, untouched.metadata, [])).toEqual(readFileSync(path))
  expect(await encoded((strings) => expect(strings).toEqual(value))).toEqual(readFileSync(path))
  const changed = encodeHeader(
    3,
    32,
    new Metadata('', [['tokens', { type: 'array', itemType: 'string', value: ['\0', ...value.slice(1)] }]]),
    [],
  )
  expect(
    await encoded((strings) => {
      strings[0] = '\0'
    }),
  ).toEqual(changed)
  writeFileSync(path, changed)
  const zero = await openGguf(path)
  await zero.close()
  expect(hasZero(zero.metadata.get('tokens') as Parameters<typeof hasZero>[0])).toBe(true)
})
