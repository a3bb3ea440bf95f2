/** Intervals that hold what they promise, and p-values that do not promise too much. */
import { expect, test } from 'vitest'
import { allPairs, Bootstrap, holm } from '../../src/compare/bootstrap.js'
import { Random } from '../../src/random.js'

const tokens = 255
/** Losses of windows: log-normal, more skewed than windows of text are. */
const lognormal = (random: Random, n: number, sigma: number): number[] =>
  Array.from({ length: n }, () => tokens * Math.exp(sigma * random.normal()))
const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length

test.each([
  { n: 32, sigma: 0.3 },
  { n: 64, sigma: 0.3 },
  { n: 128, sigma: 0.5 },
])('intervals of $n windows hold the truth in 93 to 97 of 100 samples', ({ n, sigma }) => {
  const random = new Random(7)
  const truth = Math.exp(sigma ** 2 / 2)
  const trials = 1500
  let studentized = 0
  let ofRatio = 0
  for (let trial = 0; trial < trials; trial++) {
    const bootstrap = new Bootstrap(new Array(n).fill(tokens), { replicates: 499, seed: trial })
    const a = lognormal(random, n, sigma)
    // A file that shares what makes windows hard, and loses half as much.
    const b = a.map((value) => 0.5 * value * Math.exp(0.1 * random.normal()))
    const [low, high] = bootstrap.meanInterval(a)
    if (low <= truth && truth <= high) studentized++
    const ratio = mean(b) / mean(a)
    const [meansA, meansB] = [bootstrap.means(a), bootstrap.means(b)]
    const [least, most] = bootstrap.interval(
      ratio,
      meansA.map((value, r) => meansB[r] / value),
    )
    const trueRatio = 0.5 * Math.exp(0.1 ** 2 / 2)
    if (least <= trueRatio && trueRatio <= most) ofRatio++
  }
  for (const share of [studentized / trials, ofRatio / trials]) {
    expect(share).toBeGreaterThanOrEqual(0.93)
    expect(share).toBeLessThanOrEqual(0.97)
  }
})

test('equal losses are told apart in one sample of 20 at most; real differences are found', () => {
  const random = new Random(3)
  const n = 32
  const bootstrap = new Bootstrap(new Array(n).fill(tokens), { replicates: 499 })
  let falseAlarms = 0
  const trials = 600
  for (let trial = 0; trial < trials; trial++) {
    const a = lognormal(random, n, 0.3)
    if (bootstrap.pValue(a, lognormal(random, n, 0.3)) < 0.05) falseAlarms++
    expect(
      bootstrap.pValue(
        a,
        a.map((x) => x * (1.2 + 0.1 * random.normal())),
      ),
    ).toBeLessThan(0.05)
  }
  expect(falseAlarms / trials).toBeLessThan(0.065)
})

test('the same file twice has p 1; few windows cannot show anything', () => {
  const a = [1, 2, 3, 4, 5, 6]
  const bootstrap = new Bootstrap(new Array(6).fill(1))
  expect(bootstrap.pValue(a, a)).toBe(1)
  expect(
    bootstrap.pValue(
      a,
      a.map((x) => x + 100 + x / 10),
    ),
  ).toBeGreaterThanOrEqual(2 ** -5)
  const two = new Bootstrap([1, 1])
  expect(two.pValue([1, 2], [5, 9])).toBeGreaterThanOrEqual(0.5)
})

test('deterministic for a seed; windows beyond 256 are joined', () => {
  const values = Array.from({ length: 1000 }, (_, i) => 10 + Math.sin(i))
  const make = (seed: number) => new Bootstrap(new Array(1000).fill(1), { seed, replicates: 99 })
  expect(make(1).blocks).toBe(256)
  expect(make(1).meanInterval(values)).toEqual(make(1).meanInterval(values))
  expect(make(1).meanInterval(values)).not.toEqual(make(2).meanInterval(values))
  const [low, high] = make(1).meanInterval(values)
  expect(low).toBeLessThan(mean(values))
  expect(high).toBeGreaterThan(mean(values))
  expect(() => make(1).means([1])).toThrow(RangeError)
})

test("Holm's correction", () => {
  // Textbook: 0.01, 0.02, 0.03, 0.04 -> 0.04, 0.06, 0.06, 0.06
  const adjusted = holm([0.04, 0.01, 0.03, 0.02])
  for (const [i, p] of [0.06, 0.04, 0.06, 0.06].entries()) expect(adjusted[i]).toBeCloseTo(p)
  expect(holm([0.9, 0.8])).toEqual([1, 1])
  expect(holm([])).toEqual([])
})

test('all pairs', async () => {
  const bootstrap = new Bootstrap(new Array(20).fill(1), { replicates: 199 })
  const random = new Random(1)
  const a = lognormal(random, 20, 0.1)
  const pairs = await allPairs(bootstrap, [a, a, a.map((x) => 3 * x)])
  expect(pairs.map(({ a, b }) => [a, b])).toEqual([
    [0, 1],
    [0, 2],
    [1, 2],
  ])
  expect(pairs[0].adjusted).toBe(1)
  expect(pairs[1].adjusted).toBeLessThan(0.05)
})

test('differences are found however many files there are, and p-values beyond the replicates are no smaller than they should be', async () => {
  const random = new Random(11)
  const n = 64
  const bootstrap = new Bootstrap(new Array(n).fill(tokens), { replicates: 999 })
  const hard = lognormal(random, n, 0.3)
  // 40 files, each 5 % worse than the one before on every window, give or take 1 %: 780 pairs.
  const files = Array.from({ length: 40 }, (_, i) =>
    hard.map((x) => x * 1.05 ** i * (1 + 0.01 * random.normal())),
  )
  const pairs = await allPairs(bootstrap, files)
  expect(pairs).toHaveLength(780)
  expect(pairs.filter(({ adjusted }) => adjusted >= 0.05)).toEqual([])
  // Equal losses: with 199 replicates everything below 13 % is taken from the tail.
  let [below1, below02] = [0, 0]
  const trials = 4000
  const few = new Bootstrap(new Array(24).fill(tokens), { replicates: 199 })
  for (let trial = 0; trial < trials; trial++) {
    const p = few.pValue(lognormal(random, 24, 0.3), lognormal(random, 24, 0.3))
    if (p < 0.01) below1++
    if (p < 0.002) below02++
  }
  expect(below1 / trials).toBeLessThan(0.015)
  expect(below02 / trials).toBeLessThan(0.004)
})

test('intervals of two or three windows are as wide as Student has them', () => {
  for (const [n, t] of [
    [2, 12.706],
    [3, 4.303],
  ] as const) {
    const bootstrap = new Bootstrap(new Array(n).fill(1))
    const ends = Float64Array.from({ length: 9999 }, (_, r) => (r < 5000 ? -1 : 1))
    const [low, high] = bootstrap.interval(0, ends)
    expect(high).toBeCloseTo((Math.sqrt(n / (n - 1)) * t) / 1.959964, 3)
    expect(low).toBe(-high)
  }
})
