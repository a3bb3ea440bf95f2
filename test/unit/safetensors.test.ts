/** Headers of safetensors files, sound and hostile: one sentence for whatever is wrong, and nothing allocated by a number in a file. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readSafetensors } from '../../src/checkpoint/index.js'
import { QuenchError } from '../../src/errors.js'
import { safetensors } from '../support/checkpoints.js'

let folder: string
let path: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'quench-'))
  path = join(folder, 'model.safetensors')
})
afterAll(() => rmSync(folder, { recursive: true }))

/** A file of a header as text, and data. */
function file(header: string, data = 0, length = BigInt(Buffer.byteLength(header))): Buffer {
  const prefix = Buffer.alloc(8)
  prefix.writeBigUInt64LE(length)
  return Buffer.concat([prefix, Buffer.from(header), Buffer.alloc(data)])
}

const read = (bytes: Uint8Array) => {
  writeFileSync(path, bytes)
  return readSafetensors(path)
}

const entry = (dtype: string, shape: unknown, offsets: unknown) => ({ dtype, shape, data_offsets: offsets })
const header = (tensors: object): string => JSON.stringify(tensors)

test('a sound file', async () => {
  const bytes = Buffer.alloc(24, 1)
  const found = await read(
    safetensors([
      { name: 'b', dtype: 'F32', shape: [2, 3], bytes },
      { name: 'a', dtype: 'BF16', shape: [], bytes: Buffer.alloc(2) },
      { name: 'empty', dtype: 'F16', shape: [0, 4], bytes: Buffer.alloc(0) },
    ]),
  )
  expect(found.map(({ name, shape, bytes: size }) => [name, shape, size])).toEqual([
    ['a', [], 2],
    ['b', [2, 3], 24],
    ['empty', [0, 4], 0],
  ])
})

describe('refuses', () => {
  test.each<[string, Buffer, RegExp]>([
    ['an empty file', Buffer.alloc(0), /too short/],
    ['a header of 2^63 bytes', file('{}', 0, 2n ** 63n), /longer than 100 MB/],
    ['a header longer than the file', file('{}', 0, 50n), /cut off/],
    ['what is no JSON', file('{"a":'), /not valid JSON/],
    ['a list', file('[]'), /one JSON object/],
    ['bytes that are no UTF-8', Buffer.concat([file('', 0, 1n), Buffer.from([0xff])]), /not UTF-8/],
    ['deep JSON', file('['.repeat(200_000)), /deeper than 100/],
    ['doubled names', file('{"a":{},"\\u0061":{}}'), /'a' twice/],
    ['a tensor that is no object', file(header({ a: 1 })), /'a' should be an object/],
    ['an unknown type', file(header({ a: entry('Q4', [1], [0, 1]) }), 1), /unknown type 'Q4'/],
    ['a negative size', file(header({ a: entry('F32', [-1], [0, 4]) }), 4), /no valid shape/],
    ['a size beyond 2^53', file(header({ a: entry('F32', [2 ** 60], [0, 4]) }), 4), /no valid shape/],
    [
      'sizes with a product beyond',
      file(header({ a: entry('F32', [2 ** 52, 2 ** 52], [0, 4]) }), 4),
      /by its shape/,
    ],
    ['offsets in reverse', file(header({ a: entry('F32', [1], [4, 0]) }), 4), /offsets say -4/],
    [
      'offsets that overflow',
      file(header({ a: entry('U8', [8], [2 ** 53, 2 ** 53 + 8]) }), 8),
      /no valid offsets/,
    ],
    [
      'overlapping tensors',
      file(header({ a: entry('F32', [2], [0, 8]), b: entry('F32', [2], [4, 12]) }), 12),
      /'b' overlaps another/,
    ],
    ['a gap', file(header({ a: entry('F32', [1], [4, 8]) }), 8), /begins after a gap/],
    ['data that is cut off', file(header({ a: entry('F32', [4], [0, 16]) }), 15), /cut off/],
    ['data that nothing uses', file(header({ a: entry('F32', [1], [0, 4]) }), 9), /5 bytes after/],
  ])('%s', async (_, bytes, message) => {
    const error = await read(bytes).catch((reason) => reason)
    expect(error).toBeInstanceOf(QuenchError)
    expect(error.message).toMatch(message)
    expect(error.message).not.toContain('\n')
  })
})

test('whatever a header says, it is read or refused in one line', async () => {
  const value = fc.oneof(
    fc.integer(),
    fc.double(),
    fc.string(),
    fc.constant(null),
    fc.array(fc.integer(), { maxLength: 3 }),
  )
  const tensor = fc.record(
    { dtype: fc.oneof(fc.constantFrom('F32', 'BF16', 'U8'), value), shape: value, data_offsets: value },
    { requiredKeys: [] },
  )
  await fc.assert(
    fc.asyncProperty(
      fc.dictionary(fc.string(), fc.oneof(tensor, value)),
      fc.nat(40),
      async (tensors, data) => {
        const error = await read(file(JSON.stringify(tensors), data)).catch((reason) => reason)
        if (Array.isArray(error)) return
        expect(error).toBeInstanceOf(QuenchError)
        expect(error.message).not.toContain('\n')
      },
    ),
    { numRuns: 200 },
  )
})

test('whatever byte changes, it is read or refused in one line', async () => {
  const whole = safetensors([{ name: 'a', dtype: 'F32', shape: [2], bytes: Buffer.alloc(8) }])
  await fc.assert(
    fc.asyncProperty(
      fc.nat(whole.length - 1),
      fc.nat(255),
      fc.nat(whole.length),
      async (at, byte, length) => {
        const bytes = Buffer.from(whole)
        bytes[at] = byte
        const error = await read(bytes.subarray(0, length)).catch((reason) => reason)
        if (!Array.isArray(error)) expect(error).toBeInstanceOf(QuenchError)
      },
    ),
    { numRuns: 300 },
  )
})
