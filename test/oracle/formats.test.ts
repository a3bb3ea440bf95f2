import { endianness } from 'node:os'
import fc from 'fast-check'
import { describe, expect, it, test } from 'vitest'
import type { Format } from '../../src/formats/format.js'
import { floatToHalf, readHalf } from '../../src/formats/half.js'
import { formats } from '../../src/formats/table.js'
import { dequantizeRows, quantizeRows } from '../../src/llama/ggml.js'

/** A uniform source in [0, 1) that always gives the same sequence. */
function uniform(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    return (state >>> 8) / 2 ** 24
  }
}

function gaussian(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
}

const n = 64 * 256
const rows: Record<string, (random: () => number, i: number) => number> = {
  gaussian: (random) => 0.02 * gaussian(random),
  'heavy tails': (random) => 0.02 * gaussian(random) ** 5,
  uniform: (random) => random() - 0.5,
  positive: (random) => 1 + random(),
  zeros: () => 0,
  constant: () => 0.3,
  'negative constant': () => -0.3,
  'one weight a block': (_, i) => (i % 256 === 77 ? -1.5 : 0),
  'tiny 1e-7': (random) => 1e-7 * gaussian(random),
  'tiny 1e-30': (random) => 1e-30 * gaussian(random),
  'denormal 1e-40': (random) => 1e-40 * gaussian(random),
  large: (random) => 1000 * gaussian(random),
  'all sizes': (random) => gaussian(random) * 10 ** (6 * random() - 4),
}

function quantize(format: Format, weights: Float32Array): Uint8Array {
  const importance = format.vectors && new Float32Array(weights.length).fill(1)
  return quantizeRows(format.type, weights, weights.length, importance)
}

/** Where halves lie in a block. */
const halves: Readonly<Record<string, readonly number[]>> = {
  F16: [0],
  Q8_0: [0],
  Q4_0: [0],
  Q4_1: [0, 2],
  Q5_0: [0],
  Q5_1: [0, 2],
  Q2_K: [80, 82],
  Q3_K: [108],
  Q4_K: [0, 2],
  Q5_K: [0, 2],
  Q6_K: [208],
  IQ4_NL: [0],
  IQ4_XS: [0],
  IQ3_S: [0],
  IQ3_XXS: [0],
  IQ2_S: [0],
  IQ2_XS: [0],
  IQ2_XXS: [0],
  IQ1_M: [],
  IQ1_S: [0],
  MXFP4: [],
  NVFP4: [],
  Q1_0: [0],
  Q2_0: [0],
  TQ1_0: [52],
  TQ2_0: [64],
}

test.each(formats.filter(({ grid, vectors }) => grid ?? vectors))('$name has its halves here', ({ name }) =>
  expect(halves).toHaveProperty(name),
)

/** A code of four bits without the sign of zero. */
const unsigned = (number: number): number => (number === 8 ? 0 : number)
const bothUnsigned = (byte: number): number => unsigned(byte & 15) | (unsigned(byte >> 4) << 4)

/** The `digits` first of five digits of base 3, as the least byte from which multiplications give them. */
function ternary(byte: number, digits: number): number {
  let number = 0
  for (let digit = 0; digit < 5; digit++)
    number = 3 * number + (digit < digits ? (3 * ((byte * 3 ** digit) & 255)) >> 8 : 0)
  return Math.floor((number * 256 + 242) / 243)
}

/** The byte at `at` of a block that is written for what a byte says, of formats in which several say the same. */
const canonicalBytes: Readonly<Record<string, (byte: number, at: number) => number>> = {
  MXFP4: (byte, at) => (at === 0 ? byte : bothUnsigned(byte)),
  NVFP4: (byte, at) => (at >= 4 ? bothUnsigned(byte) : byte === 255 ? byte : byte === 127 ? 0 : byte & 127),
  TQ1_0: (byte, at) => (at < 48 ? ternary(byte, 5) : at < 52 ? ternary(byte, 4) : byte),
}

function canonical({ name, blockBytes }: Format, bytes: Uint8Array): Uint8Array {
  const byteOf = canonicalBytes[name]
  return byteOf ? bytes.map((byte, i) => byteOf(byte, i % blockBytes)) : bytes
}

/** Halves that are infinite or NaN made finite. */
function finiteScales(format: Format, bytes: Uint8Array): Uint8Array {
  const copy = bytes.slice()
  for (let block = 0; block < copy.length; block += format.blockBytes) {
    for (const at of halves[format.name] ?? []) {
      if (!Number.isFinite(readHalf(copy, block + at))) copy[block + at + 1] &= 0x3f
    }
    // The highest bits of this half are those of the last byte: the highest exponent bit cleared.
    if (format.name === 'IQ1_M') copy[block + 55] &= 0xbf
    // bf16 and f32: the highest exponent bit cleared
    if (format.name === 'BF16') copy[block + 1] &= 0xbf
    if (format.name === 'F32') copy[block + 3] &= 0xbf
  }
  return copy
}

function expectSameWeights(format: Format, actual: Float32Array, bytes: Uint8Array): void {
  const expected = dequantizeRows(format.type, bytes, actual.length)
  expect(Buffer.compare(bytesOf(actual), bytesOf(expected))).toBe(0)
}

function bytesOf(floats: Float32Array): Uint8Array {
  return new Uint8Array(floats.buffer, floats.byteOffset, floats.byteLength)
}

function expectRoundTrip(format: Format, bytes: Uint8Array): void {
  const codes = format.decode(bytes)
  expect(Buffer.compare(format.encode(codes), canonical(format, bytes))).toBe(0)
  expectSameWeights(format, format.dequantize(codes), bytes)
}

describe.each(formats.map((format) => [format.name, format] as const))('%s and ggml', (_, format) => {
  it.each(Object.keys(rows))('agree on %s', (name) => {
    const random = uniform(42)
    const weights = new Float32Array(n)
    for (let i = 0; i < n; i++) weights[i] = rows[name](random, i)
    const bytes = quantize(format, weights)
    expect(Buffer.compare(canonical(format, bytes), bytes)).toBe(0)
    expectRoundTrip(format, bytes)
  })

  it('keeps the bytes of weights that overflow the scales, or refuses weights on which its quantizer would abort', () => {
    const random = uniform(42)
    const weights = new Float32Array(n).map(() => 1e30 * gaussian(random))
    if (format.vectors)
      return expect(() => quantize(format, weights)).toThrow(
        `weight 0 is ${weights[0]}, which is too large for ${format.name}`,
      )
    const bytes = quantize(format, weights)
    expect(Buffer.compare(format.encode(format.decode(bytes)), bytes)).toBe(0)
  })

  it('agree on blocks of zero bytes', () => {
    expectRoundTrip(format, new Uint8Array(64 * format.blockBytes))
  })

  it('agree on any bytes with finite scales', () => {
    const blocks = fc.integer({ min: 1, max: 8 })
    const property = fc.property(
      blocks.chain((count) => {
        const size = count * format.blockBytes
        return fc.uint8Array({ minLength: size, maxLength: size })
      }),
      (bytes) => expectRoundTrip(format, finiteScales(format, bytes)),
    )
    fc.assert(property, { seed: 1, numRuns: 200 })
    const random = uniform(7)
    const bytes = new Uint8Array(4096 * format.blockBytes).map(() => 256 * random())
    const finite = finiteScales(format, bytes)
    expectRoundTrip(format, finite)
    expectRoundTrip(format, canonical(format, finite))
  })
})

describe('half floats and ggml', () => {
  const all = new Uint8Array(Uint16Array.from({ length: 65536 }, (_, i) => i).buffer)

  it.each(['F16', 'BF16'])('agree on the value of every %s, NaN included', (name) => {
    const format = formats.find((candidate) => candidate.name === name)!
    expectSameWeights(format, format.dequantize(format.decode(all)), all)
  })

  it.each(['F16', 'BF16'])('agree on rounding any f32 to %s', (name) => {
    const format = formats.find((candidate) => candidate.name === name)!
    const random = uniform(3)
    const bits = new Uint32Array(1 << 21).map(() => random() * 2 ** 32)
    // f16: all exponents in reach, and every tie between neighbours with what is just beside it
    for (let half = 0; half < 0x7c00; half++) {
      const next = new Float32Array([halfValue(half), halfValue(half + 1)])
      const middle = new Uint32Array(new Float32Array([next[0] / 2 + next[1] / 2]).buffer)[0]
      for (let j = 0; j < 3; j++) bits[4 * half + j] = (half % 2 ? 0x80000000 : 0) + middle + j - 1
    }
    const weights = new Float32Array(bits.buffer)
    const codes = { w: weights }
    expect(Buffer.compare(format.encode(codes), quantize(format, weights))).toBe(0)
  })

  it('agree on rounding single values', () => {
    const weights = new Float32Array([0, -0, 1, -1, 65504, 65519.99, 65520, 6e-8, 2.9e-8, 3e-8, 6.1e-5, 1e30])
    const halves = new Uint16Array(quantize(formats.find(({ name }) => name === 'F16')!, weights).buffer)
    expect(Array.from(weights, floatToHalf)).toEqual([...halves])
  })
})

function halfValue(half: number): number {
  return half === 0x7c00 ? 65536 : readHalf(new Uint8Array([half & 255, half >> 8]), 0)
}

it('runs on a little-endian machine, as GGUF is', () => expect(endianness()).toBe('LE'))
