/**
 * Properties of the reader: whatever the bytes, it gives a file or a FileError, fast and in little memory; and what
 * the writer writes, it reads back.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { FileError } from '../../src/errors.js'
import {
  createGguf,
  type GgufArray,
  type GgufValue,
  ggmlTypes,
  Metadata,
  openGguf,
} from '../../src/gguf/index.js'
import { gguf, keyU32, scratchFolder, str, tensor, u32, u64, writeBytes } from './gguf-bytes.js'

const folder = scratchFolder()
const path = join(folder, 'round-trip.gguf')

const text = fc.string({ unit: 'binary', maxLength: 20 })
const numbers = {
  uint8: fc.uint8Array({ maxLength: 9 }),
  int8: fc.int8Array({ maxLength: 9 }),
  uint16: fc.uint16Array({ maxLength: 9 }),
  int16: fc.int16Array({ maxLength: 9 }),
  uint32: fc.uint32Array({ maxLength: 9 }),
  int32: fc.int32Array({ maxLength: 9 }),
  float32: fc.float32Array({ maxLength: 9 }),
  float64: fc.float64Array({ maxLength: 9 }),
  uint64: fc.bigUint64Array({ maxLength: 9 }),
  int64: fc.bigInt64Array({ maxLength: 9 }),
  bool: fc.uint8Array({ max: 1, maxLength: 9 }),
  string: fc.array(text, { maxLength: 9 }),
}

const flatArray = fc.oneof(
  ...Object.entries(numbers).map(([itemType, values]) =>
    (values as fc.Arbitrary<unknown>).map((value) => ({ type: 'array', itemType, value }) as GgufArray),
  ),
)
const arrays: fc.Arbitrary<GgufArray> = fc.oneof(
  flatArray,
  fc
    .array(flatArray, { maxLength: 3 })
    .map((value): GgufArray => ({ type: 'array', itemType: 'array', value })),
)
/** A scalar is the first item of an array of its type. */
const scalars = flatArray
  .filter((array) => array.value.length > 0)
  .map(({ itemType, value: [first] }) => {
    return { type: itemType, value: itemType === 'bool' ? first === 1 : first } as GgufValue
  })

const metadataEntries = fc.uniqueArray(
  fc.tuple(fc.string({ unit: 'binary', minLength: 1 }), fc.oneof(arrays, scalars)),
  {
    selector: ([key]) => key,
    maxLength: 12,
  },
)
const tensorSpecs = fc.uniqueArray(
  fc.record({
    name: fc.string({ unit: 'binary', maxLength: 15 }),
    blocks: fc.integer({ min: 1, max: 3 }),
    rest: fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 3 }),
    type: fc.constantFrom(...ggmlTypes.keys()),
  }),
  { selector: (spec) => spec.name, maxLength: 6 },
)

test('reader(writer(x)) is x', async () => {
  const property = fc.asyncProperty(
    metadataEntries,
    tensorSpecs,
    fc.constantFrom(1, 8, 32, 4096),
    async (entries, specs, alignment) => {
      const metadata = new Metadata(path, [
        ...entries,
        ['general.alignment', { type: 'uint32', value: alignment }],
      ])
      const tensors = specs.map(({ name, blocks, rest, type }) => {
        return { name, type, shape: [blocks * ggmlTypes.get(type)!.blockSize, ...rest] }
      })
      const writer = await createGguf(path, { metadata, tensors })
      const contents = tensors.map(({ shape, type }, i) => {
        const { blockSize, blockBytes } = ggmlTypes.get(type)!
        return new Uint8Array((shape.reduce((a, b) => a * b) / blockSize) * blockBytes).fill(i + 1)
      })
      for (const [i, { name }] of tensors.entries()) await writer.write(name, contents[i])
      await writer.finish()
      const file = await openGguf(path)
      expect([...file.metadata]).toEqual([...metadata])
      expect(file.tensors.map(({ name, type, shape }) => ({ name, type, shape }))).toEqual(tensors)
      for (const [i, tensor] of file.tensors.entries()) expect(await file.read(tensor)).toEqual(contents[i])
      await file.close()
    },
  )
  await fc.assert(property, { numRuns: 150 })
})

/** A valid file with a bit of everything. */
const sample = gguf({
  keys: [
    Buffer.concat([str('general.architecture'), u32(8), str('llama')]),
    keyU32('general.alignment', 32),
    Buffer.concat([str('tokens'), u32(9), u32(8), u64(3), str('a'), str('▁b'), str('')]),
    Buffer.concat([str('nested'), u32(9), u32(9), u64(1), u32(5), u64(2), u32(1), u32(2)]),
    Buffer.concat([str('scores'), u32(9), u32(6), u64(2), u32(0), u32(0)]),
    Buffer.concat([str('big'), u32(10), u64(2n ** 60n)]),
  ],
  tensors: [
    tensor('a.weight', [256, 2], 12, 0),
    tensor('b.weight', [8], 0, 288),
    tensor('c.weight', [64], 8, 320),
  ],
  data: 416,
})

/** Opens a file of these bytes; anything but success or a FileError fails the test. */
async function opens(bytes: Uint8Array): Promise<boolean> {
  try {
    const file = await openGguf(writeBytes(folder, bytes))
    for (const tensor of file.tensors) await file.read(tensor)
    await file.close()
    return true
  } catch (error) {
    if (error instanceof FileError) return false
    throw error
  }
}

test('every truncation is refused', async () => {
  expect(await opens(sample)).toBe(true)
  const lastByte = sample.length - 416 + 320 + 68 // the padding after the last tensor may be missing
  for (let length = 0; length < sample.length; length++) {
    expect(await opens(sample.subarray(0, length)), `${length} bytes`).toBe(length >= lastByte)
  }
})

test('flipped bits, random bytes and hostile counts end in a file or a FileError, in bounded memory and time', async () => {
  const before = process.memoryUsage()
  const started = process.cpuUsage()
  const position = fc.nat(sample.length - 1)
  const flips = fc.array(fc.tuple(position, fc.nat(7)), { minLength: 1, maxLength: 4 })
  const flipped = fc.asyncProperty(flips, async (bits) => {
    const bytes = Buffer.from(sample)
    for (const [at, bit] of bits) bytes[at] ^= 1 << bit
    await opens(bytes)
  })
  await fc.assert(flipped, { numRuns: 1500 })

  const hostile = fc.constantFrom(
    2n ** 64n - 1n,
    2n ** 63n,
    2n ** 62n,
    2n ** 53n,
    2n ** 40n,
    2n ** 32n,
    2n ** 31n,
    2n ** 20n,
    0n,
  )
  const counts = fc.asyncProperty(position, hostile, async (at, count) => {
    const bytes = Buffer.concat([sample, Buffer.alloc(8)])
    bytes.writeBigUInt64LE(count, at)
    await opens(bytes)
  })
  await fc.assert(counts, { numRuns: 1000 })

  const noise = fc.asyncProperty(fc.uint8Array({ maxLength: 400 }), fc.boolean(), async (bytes, header) => {
    await opens(header ? Buffer.concat([sample.subarray(0, 8), bytes]) : bytes)
  })
  await fc.assert(noise, { numRuns: 1000 })

  const after = process.memoryUsage()
  expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(32e6)
  expect(after.rss - before.rss).toBeLessThan(256e6)
  const { user, system } = process.cpuUsage(started)
  expect(user + system).toBeLessThan(60e6) // microseconds, however busy the machine is
})

test('any string bytes survive reading and writing', async () => {
  const lead = fc.constantFrom(
    0x61,
    0xc3,
    0xa9,
    0xe2,
    0x82,
    0xac,
    0xf0,
    0x9f,
    0x90,
    0xed,
    0xa0,
    0xb2,
    0xff,
    0xf4,
  )
  const property = fc.asyncProperty(fc.array(lead, { maxLength: 12 }), async (raw) => {
    const bytes = gguf({ keys: [Buffer.concat([str('k'), u32(8), str(Buffer.from(raw))])] })
    const file = await openGguf(writeBytes(folder, bytes))
    await file.close()
    await (await createGguf(path, file)).finish()
    expect(readFileSync(path).subarray(0, bytes.length).equals(bytes)).toBe(true)
  })
  await fc.assert(property, { numRuns: 300 })
})
