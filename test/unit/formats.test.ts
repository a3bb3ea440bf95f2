import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { IQ1_M } from '../../src/formats/codebooks/iq1_m.js'
import { IQ1_S } from '../../src/formats/codebooks/iq1_s.js'
import type { Format } from '../../src/formats/format.js'
import { floatToHalf, halfToFloat } from '../../src/formats/half.js'
import { formatNamed, formatOf, formats } from '../../src/formats/table.js'
import { MXFP4 } from '../../src/formats/types/mxfp4.js'
import { NVFP4 } from '../../src/formats/types/nvfp4.js'
import { Q4_0 } from '../../src/formats/types/q4_0.js'
import { Q4_K } from '../../src/formats/types/q4_k.js'

const e2m1 = [-12, -8, -6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6, 8, 12]
const iq4nl = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113]

/** Least and greatest value of every integer field, or a list of those that it can have; other fields hold halves. */
const ranges: Record<string, Record<string, [number, number] | { of: number[] }>> = {
  Q8_0: { q: [-128, 127] },
  Q4_0: { q: [-8, 7] },
  Q4_1: { q: [0, 15] },
  Q5_0: { q: [-16, 15] },
  Q5_1: { q: [0, 31] },
  Q2_K: { scales: [0, 15], mins: [0, 15], q: [0, 3] },
  Q3_K: { scales: [-32, 31], q: [-4, 3] },
  Q4_K: { scales: [0, 63], mins: [0, 63], q: [0, 15] },
  Q5_K: { scales: [0, 63], mins: [0, 63], q: [0, 31] },
  Q6_K: { scales: [-128, 127], q: [-32, 31] },
  IQ4_NL: { q: { of: iq4nl } },
  IQ4_XS: { scales: [-32, 31], q: { of: iq4nl } },
  MXFP4: { d: { of: [2 ** -128, 2 ** -127, 2 ** -9, 0.5, 1, 2 ** 126] }, q: { of: e2m1 } },
  NVFP4: { d: { of: [0, 2 ** -10, 7 * 2 ** -10, 2 ** -7, 9 * 2 ** -10, 224] }, q: { of: e2m1 } },
  Q1_0: { q: { of: [-1, 1] } },
  Q2_0: { q: [-1, 2] },
  TQ1_0: { q: [-1, 1] },
  TQ2_0: { q: [-1, 1] },
}

const half = fc.integer({ min: 0, max: 0xffff }).filter((bits) => (bits & 0x7c00) !== 0x7c00)

function codesOf(format: Format, blocks: number) {
  const arrays = Object.entries(format.fields).map(([field, perBlock]) => {
    const range = ranges[format.name][field]
    const value = !range
      ? half.map(halfToFloat)
      : 'of' in range
        ? fc.constantFrom(...range.of)
        : fc.integer({ min: range[0], max: range[1] })
    const length = blocks * perBlock
    const array = fc.array(value, { minLength: length, maxLength: length })
    return [field, array.map((values) => Float32Array.from(values))] as const
  })
  return fc.record(Object.fromEntries(arrays))
}

describe.each(Object.keys(ranges))('%s', (name) => {
  const format = formatNamed(name)!

  it('decodes what it encodes, for every code in range', () => {
    const property = fc.property(codesOf(format, 3), (codes) => {
      const bytes = format.encode(codes)
      expect(bytes.length).toBe(3 * format.blockBytes)
      expect(format.decode(bytes)).toEqual(codes)
    })
    fc.assert(property, { seed: 1, numRuns: 50 })
  })

  it('refuses parts of blocks and fields that do not fit each other', () => {
    expect(() => format.decode(new Uint8Array(format.blockBytes + 1))).toThrow(RangeError)
    const codes = format.decode(new Uint8Array(2 * format.blockBytes))
    expect(() => format.encode({ ...codes, q: codes.q.subarray(1) })).toThrow(/field q/)
    expect(() => format.encode({ ...codes, q: codes.q.subarray(format.blockSize) })).toThrow(/field q/)
    expect(() => format.encode({ q: codes.q })).toThrow(/field d has no values/)
  })

  it('takes no blocks at all', () => {
    const codes = format.decode(new Uint8Array(0))
    expect(format.encode(codes).length).toBe(0)
    expect(format.dequantize(codes).length).toBe(0)
  })

  it('decodes from the middle of a buffer', () => {
    const bytes = new Uint8Array(3 * format.blockBytes + 1).map((_, i) => (37 * i) & 63)
    expect(format.decode(bytes.subarray(1))).toEqual(format.decode(bytes.slice(1)))
  })
})

describe('weights by hand', () => {
  it('Q4_0: low halves first, 8 subtracted', () => {
    const bytes = new Uint8Array(18)
    bytes.set([0x00, 0x38]) // d = 0.5
    bytes[2] = 0xf0
    bytes[3] = 0x19
    const weights = Q4_0.dequantize(Q4_0.decode(bytes))
    expect([weights[0], weights[16], weights[1], weights[17]]).toEqual([-4, 3.5, 0.5, -3.5])
  })

  it('MXFP4: a power of two, low halves first', () => {
    const bytes = new Uint8Array(17)
    bytes.set([127 + 3, 0xf1, 0x78]) // 2^3 times the standard's values: 0.5 and -6, then -0 and 6
    const weights = MXFP4.dequantize(MXFP4.decode(bytes))
    expect([weights[0], weights[16], weights[1], weights[17]]).toEqual([4, -48, 0, 48])
    expect(MXFP4.encode(MXFP4.decode(bytes))[2]).toBe(0x70)
  })

  it('NVFP4: a scale for every 16 weights, of which the first eight are low halves', () => {
    const bytes = new Uint8Array(36)
    bytes[1] = 0x3c // 1.5
    bytes.set([0xa2], 4 + 8 + 5)
    bytes.set([0xff, 0x7f], 2)
    const weights = NVFP4.dequantize(NVFP4.decode(bytes))
    expect([weights[16 + 5], weights[16 + 13]]).toEqual([1.5, -1.5])
    expect(NVFP4.decode(bytes).d).toEqual(Float32Array.of(0, 0.75, 240, 0))
    expect(NVFP4.encode(NVFP4.decode(bytes)).subarray(0, 4)).toEqual(Uint8Array.of(0, 0x3c, 0xff, 0))
  })

  it('Q4_K: the sixth group takes its scale from two places', () => {
    const codes = Q4_K.decode(new Uint8Array(144))
    codes.d[0] = 0.25
    codes.dmin[0] = 2
    codes.scales[5] = 45
    codes.mins[5] = 50
    codes.q[5 * 32 + 3] = 9
    const bytes = Q4_K.encode(codes)
    expect([bytes[4 + 1] >> 6, bytes[4 + 5] >> 6, bytes[4 + 9]]).toEqual([2, 3, 13 | (2 << 4)])
    expect(Q4_K.dequantize(codes)[5 * 32 + 3]).toBe(0.25 * 45 * 9 - 2 * 50)
  })
})

describe('codes that no entry of a codebook holds are refused', () => {
  const eighths = (format: Format, change: (q: Float32Array) => void) => () => {
    const codes = format.decode(new Uint8Array(format.blockBytes))
    change(codes.q)
    return format.encode(codes)
  }

  it.each([IQ1_S, IQ1_M])('$name', (format) => {
    expect(format.decode(new Uint8Array(format.blockBytes)).q.slice(0, 8)).toEqual(
      new Float32Array(8).fill(-7),
    )
    expect(eighths(format, (q) => q.fill(1, 0, 1))).toThrow('are not in the codebook')
    expect(eighths(format, (q) => q.fill(-9, 0, 1))).toThrow('are not in the codebook')
    expect(eighths(format, (q) => q.fill(0, 0, 8))).toThrow('are not in the codebook')
  })

  it('IQ1_S: an eighth is added or subtracted for all of a group', () => {
    expect(eighths(IQ1_S, (q) => q.fill(-9, 32, 64))()[34 + 3]).toBe(0x80)
    expect(eighths(IQ1_S, (q) => q.fill(-9, 32, 40))).toThrow('have an eighth added and subtracted')
    expect(eighths(IQ1_M, (q) => q.fill(-9, 32, 40))()[32 + 2]).toBe(8)
  })
})

describe('half floats', () => {
  it('come back from every one of their 65,536 values', () => {
    for (let bits = 0; bits < 65536; bits++) {
      const isNaN16 = (bits & 0x7fff) > 0x7c00
      if (isNaN16) expect(halfToFloat(bits)).toBeNaN()
      else expect(floatToHalf(halfToFloat(bits))).toBe(bits)
    }
  })

  it('have the values of the standard', () => {
    expect(halfToFloat(0x3c00)).toBe(1)
    expect(halfToFloat(0x7bff)).toBe(65504)
    expect(halfToFloat(0x0001)).toBe(2 ** -24)
    expect(halfToFloat(0xfc00)).toBe(-Infinity)
    expect(halfToFloat(0x8000)).toBe(-0)
  })

  it('round to nearest, ties to even', () => {
    expect(floatToHalf(1 + 2 ** -11)).toBe(0x3c00)
    expect(floatToHalf(1 + 3 * 2 ** -11)).toBe(0x3c02)
    expect(floatToHalf(65519.99)).toBe(0x7bff)
    expect(floatToHalf(65520)).toBe(0x7c00)
    expect(floatToHalf(2 ** -25)).toBe(0)
    expect(floatToHalf(1.5 * 2 ** -25)).toBe(1)
    expect(floatToHalf(Number.NaN)).toBe(0x7e00)
  })

  it.each(['F32', 'F16', 'BF16'])('%s files keep every value that is not NaN', (name) => {
    const format = formatNamed(name)!
    const w = new Float32Array([0, -0, 1, -2, 0.5, Infinity, -Infinity, 2 ** -14])
    expect(format.decode(format.encode({ w }))).toEqual({ w })
    expect(format.dequantize({ w })).toEqual(w)
  })
})

describe('table', () => {
  it('finds every format by id and by name', () => {
    for (const format of formats) {
      expect(formatOf(format.type)).toBe(format)
      expect(formatNamed(format.name)).toBe(format)
    }
    expect(formatOf(99)).toBeUndefined()
    expect(formatNamed('q4_k')).toBeUndefined()
  })
})
