/** The kernel of rounding and descent gives what plain loops give, up to the rounding of f32. */
import { beforeEach, describe, expect, test } from 'vitest'
import { inDescent, inRounding, kernel, loadLevels, panelColumns } from '../../src/blockwise/descent.js'
import { integers, type Levels, nearest, tableOf } from '../../src/formats/levels.js'
import { Random } from '../../src/random.js'

const width = 44
const { block, slope, direction, codes, moved, diagonal, spread, optimum } = inDescent

const grids: [name: string, levels: Levels][] = [
  ['integers', integers(-8, 7)],
  ['a table', tableOf(-12, -8, -6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6, 8, 12)],
  ['two levels', tableOf(-1, 1)],
]

/** A positive definite H, and codes, slopes and directions at random. */
function fill(seed: number, levels: Levels): void {
  const random = new Random(seed)
  const a = Array.from({ length: width * width }, () => random.normal())
  for (let i = 0; i < width; i++)
    for (let j = 0; j < width; j++) {
      let sum = i === j ? 5 : 0
      for (let k = 0; k < width; k++) sum += a[i * width + k] * a[j * width + k]
      block[i * width + j] = sum
    }
  for (let k = 0; k < width; k++) {
    slope[k] = 40 * random.normal()
    direction[k] = k % 5 === 0 ? 0 : random.normal()
    codes[k] = nearest(levels, 4 * random.normal())
    moved[k] = random.normal()
    diagonal[k] = block[k * width + k]
  }
}

const copy = (values: Float32Array): number[] => Array.from(values.subarray(0, width))

function expectClose(found: ArrayLike<number>, wanted: readonly number[]): void {
  const size = Math.max(1, ...wanted.map(Math.abs))
  for (const [i, value] of wanted.entries()) expect(Math.abs(found[i] - value) / size).toBeLessThan(1e-5)
}

describe.each(grids)('on %s', (_name, levels) => {
  test.each([1, 2, 3, 4, 5])('codes are improved one after another (%i)', (seed) => {
    fill(seed, levels)
    const [scale, from, to] = [0.3, 8, 24]
    const [g, q, change] = [copy(slope), copy(codes), copy(moved)]
    for (let j = from; j < to; j++) {
      const code = nearest(levels, q[j] - g[j] / (diagonal[j] * scale))
      const by = scale * (code - q[j])
      q[j] = code
      change[j] += by
      for (let k = 0; k < width; k++) g[k] += by * block[j * width + k]
    }
    kernel.improveCodes(from, to, width, scale, ...loadLevels(levels))
    expect(copy(codes)).toEqual(q)
    expectClose(moved, change)
    expectClose(slope, g)
  })

  test.each([1, 2, 3, 4, 5])('four rows are rounded one column after another (%i)', (seed) => {
    const random = new Random(seed + 10)
    for (const own of [width, width - 1, 1]) {
      for (let i = 0; i < own; i++) {
        for (let j = 0; j < own; j++) block[i * own + j] = j < i ? 0 : 0.1 * random.normal() // U
        block[i * own + i] = 1 + random.uniform()
        for (let at = i; at < 4 * panelColumns; at += panelColumns) {
          inRounding.weights[at] = random.normal()
          inRounding.scales[at] = (at + i) % 7 === 6 ? 0 : 0.1 + 0.4 * random.uniform()
          inRounding.mins[at] = 0.1 * random.normal()
        }
      }
      const before = inRounding.weights.slice()
      kernel.round(own, ...loadLevels(levels))
      expect(inRounding.weights).toEqual(before)
      for (let row = 0; row < 4 * panelColumns; row += panelColumns) {
        const [w, scales, mins, codes, errors] = (
          ['weights', 'scales', 'mins', 'codes', 'errors'] as const
        ).map((field) => inRounding[field].subarray(row, row + own).slice())
        const [q, missed] = [Array(own).fill(0), Array(own).fill(0)]
        for (let i = 0; i < own; i++) {
          q[i] = nearest(levels, scales[i] === 0 ? 0 : (w[i] + mins[i]) / scales[i])
          missed[i] = (w[i] - (scales[i] * q[i] - mins[i])) / block[i * own + i]
          for (let j = i + 1; j < own; j++) w[j] -= missed[i] * block[i * own + j]
        }
        expect([...codes]).toEqual(q)
        for (let i = 0; i < own; i++)
          expect(Math.abs(errors[i] - missed[i])).toBeLessThan(1e-4 * (1 + Math.abs(missed[i])))
      }
    }
  })
})

describe('a direction', () => {
  beforeEach(() => fill(7, integers(-8, 7)))
  const [from, to] = [8, 28]

  test.each([0, 1])('is a multiple of the codes or of 1: %i', (ofCodes) => {
    const wanted = copy(direction)
    let sum = 0
    for (let j = from; j < to; j++) {
      wanted[j] = -0.7 * (ofCodes ? codes[j] : 1)
      sum += wanted[j] * slope[j]
    }
    const found = kernel.direct(from, to, -0.7, ofCodes)
    expectClose(direction, wanted)
    expect(found / sum).toBeCloseTo(1, 4)
  })

  /** H times the direction of the columns. */
  const product = (k: number): number => {
    let sum = 0
    for (let j = from; j < to; j++) sum += direction[j] * block[j * width + k]
    return sum
  }

  test.each([
    [0, width],
    [from, to],
    [to, width],
    [0, 4],
  ])('is multiplied by H for the columns from %i to %i', (first, last) => {
    const wanted = Array.from({ length: width }, (_, k) => product(k))
    const sum = wanted.slice(first, last).reduce((s, x, k) => s + x * direction[first + k], 0)
    const found = kernel.spread(from, to, width, first, last)
    expectClose(spread.subarray(first, last), wanted.slice(first, last))
    expect(Math.abs(found - sum)).toBeLessThan(1e-4 * Math.max(1, Math.abs(sum)))
  })

  test('is none for no columns', () => expect(kernel.spread(from, to, width, 8, 8)).toBe(0))

  test('changes weights and slopes', () => {
    kernel.spread(from, to, width, 0, width)
    const slopes = copy(slope).map((x, k) => x + 0.7 * product(k))
    const changes = copy(moved).map((x, j) => (j >= from && j < to ? x + 0.7 * direction[j] : x))
    kernel.advance(from, to, width, 0.7)
    expectClose(slope, slopes)
    expectClose(moved, changes)
  })
})

test('the optimum of each weight', () => {
  fill(9, integers(-8, 7))
  const wanted = copy(codes).map((q, j) => 0.3 * q - 0.1 - slope[j] / diagonal[j])
  kernel.findOptimum(0, width, 0.3, -0.1)
  expectClose(optimum, wanted)
})
