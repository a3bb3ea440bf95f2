/** The search for scales and codes: its error on Gaussian weights for every format with a grid. */
import { describe, expect, it, test } from 'vitest'
import type { Codes, Format } from '../../src/formats/format.js'
import { factorsOf } from '../../src/formats/grids.js'
import { nearest } from '../../src/formats/levels.js'
import { roundScale } from '../../src/formats/stored-scale.js'
import { formatNamed, formats } from '../../src/formats/table.js'
import { searchCodes } from '../../src/quantize/search/search.js'
import { weighErrors } from '../../src/quantize/search/weighing.js'
import { Random } from '../../src/random.js'
import { gaussian } from '../support/gaussian.js'

/** Codes that say as little as possible, so that nothing of the result is another quantizer's. */
function zeros({ fields, blockSize, grid }: Format, weights: Float32Array): Codes {
  const blocks = weights.length / blockSize
  const codes = Object.fromEntries(
    Object.entries(fields).map(([field, count]) => [field, new Float32Array(blocks * count)]),
  )
  if (!grid) throw new Error('no grid')
  codes.q.fill(nearest(grid.levels, 0))
  for (const { block } of factorsOf(grid)) codes[block.field].fill(roundScale(block.rounding, 0))
  return codes
}

/** Squared error relative to the squares of the weights, each weighted by its column's importance. */
function errorOf(
  format: Format,
  codes: Codes,
  weights: Float32Array,
  importance = Float32Array.of(1),
): number {
  const rounded = format.dequantize(codes)
  let [error, square] = [0, 0]
  for (const [i, w] of weights.entries()) {
    const h = importance[i % importance.length]
    error += h * (rounded[i] - w) ** 2
    square += h * w * w
  }
  return error / square
}

/**
 * Most that the search may leave of Gaussian weights. That of ggml's quantizer is in brackets; where levels are few it takes the largest
 * weight for the greatest level.
 */
const mostError: Record<string, number> = {
  Q8_0: 0.000023, // (.0000285)
  Q6_K: 0.00028, // (.000316)
  Q5_K: 0.00122, // (.00130)
  Q5_1: 0.00116, // (.00144)
  Q5_0: 0.00162, // (.00181)
  Q4_K: 0.005, // (.00509)
  Q4_1: 0.00497, // (.00614)
  Q4_0: 0.0066, // (.00735)
  IQ4_NL: 0.00545, // (.00580)
  NVFP4: 0.0067, // (.0090)
  MXFP4: 0.0128, // (.0130)
  IQ4_XS: 0.0055, // (.00588)
  Q3_K: 0.0207, // (.0228)
  Q2_K: 0.0685, // (.0877)
  Q2_0: 0.125, // (.512)
  TQ2_0: 0.19, // (.648)
  TQ1_0: 0.19, // (.648)
  Q1_0: 0.364, // (.3605, the optimum)
}

describe('on Gaussian weights', () => {
  for (const format of formats.filter(({ grid }) => grid))
    test(`${format.name} leaves little`, () => {
      const weights = gaussian(new Random(1), 256 * 32)
      const codes = searchCodes(format, zeros(format, weights), weights)
      expect(errorOf(format, codes, weights)).toBeLessThan(mostError[format.name])
      const stored = format.decode(format.encode(codes))
      expect(format.dequantize(stored)).toEqual(format.dequantize(codes))
    })
})

it('takes importance into account', () => {
  const format = formatNamed('Q2_K') as Format
  const weights = gaussian(new Random(2), 256 * 32)
  const importance = Float32Array.from({ length: 512 }, (_, i) => 1 + 50 * Math.sin(i) ** 8)
  const start = zeros(format, weights)
  const weighed = searchCodes(format, start, weights, importance)
  const plain = searchCodes(format, start, weights)
  expect(errorOf(format, weighed, weights, importance)).toBeLessThan(
    0.9 * errorOf(format, plain, weights, importance),
  )
  expect(errorOf(format, plain, weights)).toBeLessThan(0.9 * errorOf(format, weighed, weights))
})

it('leaves what cannot be improved, and the codes it was given', () => {
  for (const format of formats.filter(({ grid }) => grid)) {
    const weights = new Float32Array(512)
    const start = zeros(format, weights)
    const copy = structuredClone(start)
    expect(searchCodes(format, start, weights)).toEqual(copy)
    expect(start).toEqual(copy)
  }
})

it('has an importance of zero count for nothing', () => {
  const format = formatNamed('Q4_0') as Format
  const weights = gaussian(new Random(3), 1024)
  weights[5] = 100
  const importance = Float32Array.from({ length: 1024 }, (_, i) => (i === 5 ? 0 : 1))
  const codes = searchCodes(format, zeros(format, weights), weights, importance)
  expect(errorOf(format, codes, weights, importance)).toBeLessThan(0.0075)
})

it('weighs errors by importance and by the size of a weight within its row', () => {
  const weights = gaussian(new Random(3), 2 * 64)
  const importance = Float32Array.from({ length: 64 }, (_, i) => i % 5)
  const factors = weighErrors(weights, 64, importance)
  expect(factors.every((factor) => factor > 0)).toBe(true)
  const alone = weighErrors(weights.slice(64), 64, importance)
  expect(factors.slice(64)).toEqual(alone)
  const mean = weights.subarray(0, 64).reduce((sum, w) => sum + w * w, 0) / 64
  expect(factors[7] / (2 * Math.sqrt(1 + weights[7] ** 2 / mean))).toBeCloseTo(1, 4)
  // Where they are all 0, columns are alike.
  const alike = weighErrors(weights, 64, new Float32Array(64))
  expect(alike[7]).toBeCloseTo(Math.sqrt(1 + weights[7] ** 2 / mean), 5)
  expect(weighErrors(new Float32Array(64), 64, importance).every((factor) => factor > 0)).toBe(true)
  // Without a matrix nothing is weighed.
  expect(weighErrors(weights, 64)).toEqual(new Float32Array(128).fill(1))
})
