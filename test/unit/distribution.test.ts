/** Quantiles in bounded memory, and their errors. */
import { expect, test } from 'vitest'
import { Distribution } from '../../src/evaluate/distribution.js'
import { quantile } from '../../src/evaluate/statistics.js'
import { Random } from '../../src/random.js'

const shares = [0.01, 0.05, 0.1, 0.5, 0.9, 0.95, 0.99, 0.999]

test('few values: exact', () => {
  const random = new Random(1)
  const values = Float32Array.from({ length: 3000 }, () => Math.exp(2 * random.normal() - 6))
  const distribution = new Distribution(30)
  for (const [i, value] of values.entries()) distribution.add(Math.floor(i / 100), value)
  const sorted = values.slice().sort()
  expect(distribution.quantiles(shares)).toEqual(shares.map((share) => quantile(sorted, share)))
  expect(distribution.range()).toEqual({ min: sorted[0], max: sorted[2999] })
})

test('many values: right to 0.07 %, zeros and extremes included', () => {
  const random = new Random(2)
  const values = Float64Array.from({ length: 150_000 }, (_, i) => {
    if (i % 7 === 0) return 0
    return i === 5 ? 1e4 : Math.exp(3 * random.normal() - 6)
  })
  const distribution = new Distribution(10)
  for (const [i, value] of values.entries()) distribution.add(i % 10, value)
  const sorted = values.slice().sort()
  const found = distribution.quantiles([...shares, 1])
  for (const [i, share] of [...shares, 1].entries()) {
    const truth = quantile(sorted, share)
    if (truth === 0) expect(found[i]).toBe(0)
    else expect(Math.abs(found[i] / truth - 1)).toBeLessThan(0.0007)
  }
})

test('the error of a quantile is the spread of repeated samples; intervals hold the truth', () => {
  const random = new Random(3)
  const [windows, tokens, times] = [40, 50, 200]
  // Tokens of a window share a factor.
  const draw = () => {
    const distribution = new Distribution(windows)
    for (let w = 0; w < windows; w++) {
      const common = 0.3 * random.normal()
      for (let t = 0; t < tokens; t++) distribution.add(w, Math.exp(random.normal() + common))
    }
    return { value: distribution.quantiles([0.5, 0.9]), errors: distribution.errors([0.5, 0.9], 1) }
  }
  const draws = Array.from({ length: times }, draw)
  const spread = Math.sqrt(1 + 0.3 ** 2)
  for (const [q, truth] of [1, Math.exp(1.2815516 * spread)].entries()) {
    const values = draws.map(({ value }) => value[q])
    const mean = values.reduce((s, v) => s + v, 0) / times
    const sd = Math.sqrt(values.reduce((s, v) => s + (v - mean) ** 2, 0) / (times - 1))
    const claimed = draws.reduce((s, { errors }) => s + errors[q].se, 0) / times
    expect(claimed / sd).toBeGreaterThan(0.85)
    expect(claimed / sd).toBeLessThan(1.15)
    const held = draws.filter(({ errors: e }) => e[q].interval[0] <= truth && truth <= e[q].interval[1])
    expect(held.length / times).toBeGreaterThan(0.89) // 95 % but for the noise of 200 draws
  }
})

test('one window has no error, and the same seed gives the same', () => {
  const one = new Distribution(1)
  for (const value of [1, 2, 3]) one.add(0, value)
  expect(one.errors([0.5], 1)[0].se).toBe(Number.POSITIVE_INFINITY)
  const make = () => {
    const distribution = new Distribution(5)
    for (let i = 0; i < 50; i++) distribution.add(i % 5, i)
    return distribution.errors([0.5, 0.9], 7)
  }
  expect(make()).toEqual(make())
})
