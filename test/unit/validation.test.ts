/** What counts as better: paired windows of several kinds of text, each kind alike. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { meanError } from '../../src/validation/estimate.js'
import {
  beatsStock,
  type Divergence,
  divergenceOf,
  gains,
  inWholeBatches,
  isBetter,
  type KindWindows,
  meanGain,
  meanOf,
  windowMeans,
} from '../../src/validation/validation.js'

const divergence = (kinds: Readonly<Record<string, readonly number[]>>): Divergence => ({
  kinds: Object.entries(kinds).map(([kind, windows]) => ({ kind, windows })),
})
const times = (of: Divergence, factor: number): Divergence => ({
  kinds: of.kinds.map(({ kind, windows }) => ({ kind, windows: windows.map((w) => factor * w) })),
})
const before = divergence({ prose: [1, 2, 3, 4], code: [0.1, 0.2, 0.1, 0.2] })

describe('gains', () => {
  test('are shares of what was lost, with the error of the paired difference', () => {
    const after = divergence({ prose: [0.5, 1.5, 2.5, 3.5], code: [0.2, 0.2, 0.1, 0.2] })
    const [prose, code] = gains(before, after)
    // Every window of prose loses .5 less of 2.5, however much windows differ.
    expect(prose).toEqual({ kind: 'prose', mean: 0.2, se: 0 })
    const { mean, se } = meanError([-0.1, 0, 0, 0])
    expect(code.kind).toBe('code')
    expect(code.mean).toBeCloseTo(mean / 0.15, 12)
    expect(code.se).toBeCloseTo(se / 0.15, 12)
    const all = meanGain(before, after)
    expect(all.mean).toBeCloseTo((0.2 + mean / 0.15) / 2, 12)
    expect(all.se).toBeCloseTo(se / 0.15 / 2, 12)
  })

  test('count each kind alike, however much it loses', () => {
    for (const factor of [1, 1000]) {
      const from = divergence({ prose: [1, 1], code: [factor, factor] })
      const after = divergence({ prose: [1, 1], code: [factor / 2, factor / 2] })
      expect(meanGain(from, after).mean).toBeCloseTo(0.25, 12)
    }
  })

  test('of a kind that loses nothing are nothing', () => {
    const none = divergence({ prose: [0, 0], code: [1, 1] })
    expect(gains(none, divergence({ prose: [0, 0], code: [0.5, 0.5] }))).toEqual([
      { kind: 'prose', mean: 0, se: 0 },
      { kind: 'code', mean: 0.5, se: 0 },
    ])
  })

  test('the mean of a divergence is that of its kinds', () => {
    const { mean, se } = meanOf(before)
    const parts = before.kinds.map(({ windows }) => meanError(windows))
    expect(mean).toBeCloseTo((2.5 + 0.15) / 2, 12)
    expect(se).toBeCloseTo(Math.hypot(parts[0].se, parts[1].se) / 2, 12)
  })
})

describe('better', () => {
  test('is what loses less on every kind', () => {
    expect(isBetter(before, times(before, 0.9))).toBe(true)
    expect(isBetter(before, times(before, 1.1))).toBe(false)
  })

  test('is not what is the same', () => {
    expect(isBetter(before, before)).toBe(false)
    fc.assert(
      fc.property(fc.array(fc.double({ min: 0, max: 10, noNaN: true }), { minLength: 1 }), (windows) => {
        const some = divergence({ prose: windows, code: windows })
        expect(isBetter(some, some)).toBe(false)
      }),
      { seed: 1 },
    )
  })

  test('is not both ways round', () => {
    const windows = fc.array(fc.double({ min: 0.01, max: 10, noNaN: true }), { minLength: 3, maxLength: 3 })
    fc.assert(
      fc.property(windows, windows, windows, windows, (a, b, c, d) => {
        const [one, other] = [divergence({ prose: a, code: b }), divergence({ prose: c, code: d })]
        expect(isBetter(one, other) && isBetter(other, one)).toBe(false)
      }),
      { seed: 1 },
    )
  })

  test('is not what is much better on one kind and worse on another beyond its error', () => {
    const worse = (by: readonly number[]): Divergence =>
      divergence({ prose: [0.1, 0.2, 0.3, 0.4], code: [0.1, 0.2, 0.1, 0.2].map((w, i) => w + by[i]) })
    expect(isBetter(before, worse([0.01, 0.01, 0.01, 0.01]))).toBe(false)
    expect(isBetter(before, worse([0.02, 0.01, 0.02, 0.01]))).toBe(false)
    // As much on the whole, but by chance: its error is larger.
    expect(isBetter(before, worse([0.1, -0.05, 0.01, -0.02]))).toBe(true)
    expect(isBetter(before, worse([0, 0, 0, 0]))).toBe(true)
    // Stock stays where a kind is worse at all.
    expect(beatsStock(before, worse([0.1, -0.05, 0.01, -0.02]))).toBe(false)
    expect(beatsStock(before, worse([0, 0, 0, 0]))).toBe(true)
  })

  test('is not what is better by less than chance', () => {
    const noisy = divergence({ prose: [0.5, 2.4, 2.6, 4.3], code: [0.1, 0.2, 0.1, 0.2] })
    expect(meanGain(before, noisy).mean).toBeGreaterThan(0)
    expect(meanGain(before, noisy).mean).toBeLessThan(meanGain(before, noisy).se)
    expect(isBetter(before, noisy)).toBe(false)
    // The same difference on every window is no chance.
    const even = divergence({ prose: [0.95, 1.95, 2.95, 3.95], code: [0.1, 0.2, 0.1, 0.2] })
    expect(isBetter(before, even)).toBe(true)
  })

  test('pairs windows: as large differences in another order are chance', () => {
    const apart = divergence({ prose: [1, 10, 100, 1000], code: [1, 1, 1, 1] })
    expect(isBetter(apart, times(apart, 0.99))).toBe(true)
    const moved = divergence({ prose: [1000, 100, 10, 0.9], code: [1, 1, 1, 1] })
    expect(meanGain(apart, moved).mean).toBeGreaterThan(0)
    expect(isBetter(apart, moved)).toBe(false)
  })

  test("does not hang on the user's own text, which is reported beside", () => {
    const own = (of: Divergence, windows: readonly number[]): Divergence => ({
      kinds: [...of.kinds, { kind: 'your text', apart: true, windows }],
    })
    const [less, more] = [times(before, 0.9), times(before, 1.1)]
    expect(isBetter(own(before, [1, 1]), own(less, [9, 9]))).toBe(true)
    expect(isBetter(own(before, [9, 9]), own(more, [1, 1]))).toBe(false)
    expect(meanGain(own(before, [1, 1]), own(less, [9, 9]))).toEqual(meanGain(before, less))
    expect(meanOf(own(less, [9, 9]))).toEqual(meanOf(less))
    expect(gains(own(before, [1, 1]), own(less, [0.25, 0.25])).at(-1)).toEqual({
      ...{ kind: 'your text', apart: true, mean: 0.75, se: 0 },
    })
  })

  test('of a single window is what loses less', () => {
    const single = divergence({ prose: [2], code: [1] })
    expect(isBetter(single, divergence({ prose: [1.9], code: [1] }))).toBe(true)
    expect(isBetter(single, divergence({ prose: [1.9], code: [1.01] }))).toBe(false)
    expect(isBetter(single, single)).toBe(false)
  })
})

describe('batches', () => {
  const windowOf = (n: number): Int32Array => Int32Array.of(n, n)
  const text: KindWindows[] = [
    { kind: 'prose', windows: [0, 1, 2].map(windowOf) },
    { kind: 'code', windows: [3, 4].map(windowOf) },
  ]

  test.each([1, 2, 3, 4, 5, 7, 12])('of %i windows are whole and hold all in order', (size) => {
    const batches = inWholeBatches(text, size)
    expect(batches).toHaveLength(Math.ceil(5 / size))
    for (const batch of batches) expect(batch).toHaveLength(size)
    const numbers = batches.flat().map(([n]) => n)
    expect(numbers).toEqual(numbers.map((_, i) => i % 5))
  })

  test('what fills up the last one does not count', () => {
    const means = inWholeBatches(text, 4).flatMap((batch) => {
      const losses = Float32Array.from(batch.flatMap(([n]) => [n, n + 1]))
      return windowMeans(losses, 2)
    })
    expect(means).toHaveLength(8)
    expect(divergenceOf(text, means)).toEqual(divergence({ prose: [0.5, 1.5, 2.5], code: [3.5, 4.5] }))
    expect(divergenceOf(text, means.slice(0, 5))).toEqual(divergenceOf(text, means))
  })
})
