/** The kernel of the search for scales gives what plain loops give, to the last bit. */
import { describe, expect, test } from 'vitest'
import { integers, type Levels, nearest, tableOf } from '../../src/formats/levels.js'
import { inFit } from '../../src/quantize/search/fit.js'
import { GroupFit } from '../../src/quantize/search/group-fit.js'
import { Random } from '../../src/random.js'

const [groups, groupSize] = [3, 12]

/** Tells the scale that is picked from given ones. */
class Picking extends GroupFit {
  pick(g: number, tried: readonly number[], refit: boolean): number {
    inFit.scales.set(tried)
    return this.leastOf(g, tried.length, Math.min(...tried.map(Math.abs)), refit)
  }
}

/** The error and the sums, as JavaScript computes them. */
function plain(levels: Levels, g: number, scale: number, offset: number) {
  let [error, qq, q1, qx] = [0, 0, 0, 0]
  const inverse = scale === 0 ? 0 : 1 / scale
  for (let i = g * groupSize; i < (g + 1) * groupSize; i++) {
    const [h, x] = [inFit.h[i], inFit.w[i] - offset]
    const q = nearest(levels, x * inverse)
    const r = x - scale * q
    error += h * r * r
    qq += h * q * q
    q1 += h * q
    qx += h * q * x
  }
  return { error, qq, q1, qx }
}

describe.each<[string, Levels]>([
  ['integers', integers(-8, 7)],
  ['a table', tableOf(-12, -8, -6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6, 8, 12)],
  ['two levels', tableOf(-1, 1)],
])('on %s', (_name, levels) => {
  test.each([1, 2, 3, 4, 5, 6])('errors and sums at random scales and offsets (%i)', (seed) => {
    const random = new Random(seed)
    const fit = new GroupFit(
      { groupSize, levels, scale: { block: { field: 'd', rounding: { as: 'half' } } } },
      groups,
    )
    for (let i = 0; i < fit.w.length; i++) {
      fit.w[i] = random.normal()
      fit.h[i] = 0.1 + random.uniform()
    }
    fit.load()
    for (let g = 0; g < groups; g++)
      for (const scale of [0, 1e-30, 0.3 * random.uniform(), -0.3 * random.uniform(), 100]) {
        const offset = scale === 0 ? 0 : random.normal()
        const wanted = plain(levels, g, scale, offset)
        const error = fit.fit(g, scale, offset)
        expect({ error, qq: fit.qq, q1: fit.q1, qx: fit.qx }).toEqual(wanted)
      }
  })

  test.each([
    ['Gaussian', (random: Random) => random.normal()],
    ['heavy-tailed', (random: Random) => random.normal() ** 5],
    ['integers', (random: Random) => Math.round(3 * random.normal())],
    ['alike', () => 0.25],
    ['denormal', (random: Random) => 1e-41 * random.normal()],
  ] as const)('no bound rules out the best of many scales: %s', (_kind, weight) => {
    const random = new Random(11)
    const fit = new Picking(
      { groupSize, levels, scale: { block: { field: 'd', rounding: { as: 'half' } } } },
      groups,
    )
    for (let round = 0; round < 50; round++) {
      for (let i = 0; i < fit.w.length; i++) {
        fit.w[i] = Math.fround(weight(random))
        fit.h[i] = Math.fround(random.normal() ** 4 + 1e-6)
      }
      fit.load()
      for (let g = 0; g < groups; g++) {
        const largest = inFit.peak[g] / levels.hi
        const tried = Array.from({ length: 9 + 2 * round }, () => largest * (0.3 + random.uniform()))
        for (let i = 1; i < tried.length; i += 3) tried[i] *= -1
        for (const refit of [true, false]) {
          let [least, scale] = [Number.POSITIVE_INFINITY, 0]
          for (const s of tried) {
            const { error, qq, qx } = plain(levels, g, s, 0)
            const own = refit && qq > 0 ? error - (qx - s * qq) ** 2 / qq : error
            if (own < least) [least, scale] = [own, s]
          }
          expect(fit.pick(g, tried, refit)).toBe(scale)
        }
      }
    }
  })

  test('a group of zeros has no scale, and one of a constant its own', () => {
    const fit = new GroupFit(
      { groupSize, levels, scale: { block: { field: 'd', rounding: { as: 'half' } } } },
      groups,
    )
    fit.w.fill(0).fill(2, groupSize)
    fit.h.fill(1)
    fit.load()
    expect(fit.best(0, true).scale).toBe(0)
    const { scale } = fit.best(1, true)
    expect(fit.fit(1, scale, 0)).toBeLessThan(1e-12)
  })
})

test('a unit that the kernel has no memory for is refused', () => {
  const layout = {
    groupSize: 256,
    levels: integers(0, 3),
    scale: { block: { field: 'd', rounding: { as: 'half' } } },
  } as const
  expect(() => new GroupFit(layout, 2)).toThrow(RangeError)
})
