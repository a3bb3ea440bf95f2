/** The arithmetic of evaluation, against formulas written out plainly and against cases that can be seen through. */
import { describe, expect, test } from 'vitest'
import {
  type BaseRow,
  Score,
  scoreBase,
  scoreFields,
  scoreRow,
  topTokens,
} from '../../src/evaluate/divergence.js'
import { expOfNegative } from '../../src/evaluate/exp.js'
import { effectiveBits, evaluateFiles, recovered } from '../../src/evaluate/index.js'
import {
  estimate,
  exponential,
  quantile,
  ratio,
  root,
  studentT,
  studentTail,
  wilson,
} from '../../src/evaluate/statistics.js'
import { Random } from '../../src/random.js'

const random = new Random(3)
const size = 300
const row = (scale: number) => Float32Array.from({ length: 2 * size }, () => random.normal() * scale)

function score(reference: Float32Array, logits: Float32Array, offset: number, target = 0) {
  const weights = new Float32Array(2 * size)
  const first: BaseRow = { logSumExp: 0, weightSum: 0, topProbability: 0 }
  const top = new Int32Array(5)
  scoreBase(reference, offset, size, weights, offset, top, first)
  const out = new Float64Array(scoreFields + 1)
  const base = { logits: reference, weights, offset, top, row: first }
  scoreRow(base, logits, offset, size, new Int32Array(5), target, out, 1)
  const of = (name: keyof typeof Score): number => out[1 + Score[name]]
  return { first, of, top }
}

/** KL(softmax(a) || softmax(b)) as the definition has it. */
function klDivergence(a: Float32Array, b: Float32Array): number {
  const softmax = (x: Float32Array) => {
    const e = Array.from(x, (v) => Math.exp(v - 40))
    const total = e.reduce((s, v) => s + v, 0)
    return e.map((v) => v / total)
  }
  const p = softmax(a)
  const q = softmax(b)
  return p.reduce((s, v, i) => s + v * Math.log(v / q[i]), 0)
}

describe('one row', () => {
  test.each([0.1, 1, 8])('divergence of logits of size %d', (scale) => {
    const a = row(scale)
    const b = row(scale)
    for (const offset of [0, size]) {
      const { first, of, top } = score(a, b, offset, 7)
      const [ra, rb] = [a, b].map((x) => x.subarray(offset, offset + size))
      expect(of('kld')).toBeCloseTo(klDivergence(ra, rb), 6)
      expect(of('reversedKld')).toBeCloseTo(klDivergence(rb, ra), 10)
      const logSum = (x: Float32Array) => Math.log(x.reduce((s, v) => s + Math.exp(v), 0))
      expect(first.logSumExp).toBeCloseTo(logSum(ra), 10)
      expect(first.topProbability).toBeCloseTo(Math.exp(Math.max(...ra) - logSum(ra)), 10)
      expect(of('nll')).toBeCloseTo(logSum(rb) - rb[7], 10)
      expect(of('probability')).toBeCloseTo(Math.exp(rb[7] - logSum(rb)), 10)
      const best = (x: Float32Array) => Array.from(x.keys()).sort((i, j) => x[j] - x[i])
      expect([...top]).toEqual(best(ra).slice(0, 5))
      expect(of('top1')).toBe(best(ra)[0] === best(rb)[0] ? 1 : 0)
      const common = best(ra)
        .slice(0, 5)
        .filter((i) => best(rb).slice(0, 5).includes(i))
      expect(of('topOverlap')).toBe(common.length / 5)
    }
  })

  test('a row against itself is exactly 0, and against itself moved by a constant nearly', () => {
    const a = row(5)
    const { of } = score(a, a.slice(), 0)
    expect([of('kld'), of('reversedKld'), of('top1'), of('topOverlap')]).toEqual([0, 0, 1, 1])
    const whole = Float32Array.from(a, (v) => Math.round(v * 64) / 64)
    const moved = whole.map((v) => v + 1000)
    expect(score(whole, moved, 0).of('kld')).toBeLessThan(1e-10)
  })

  test('large logits do not overflow, and forbidden tokens (-Infinity) are no divergence', () => {
    const a = row(1)
    a[7] = 1e30
    expect(score(a, a.slice(), 0).of('kld')).toBe(0)
    const b = row(1)
    b[5] = Number.NEGATIVE_INFINITY
    const c = b.map((v) => v * 0.5)
    const { of } = score(b, c, 0)
    expect(of('kld')).toBeGreaterThan(0)
    expect(of('kld')).toBeLessThan(1)
    expect(of('reversedKld')).toBeLessThan(1)
    b[5] = Number.NaN
    expect(score(b, c, 0).of('kld')).toBeNaN()
  })

  test('the exponential is right to 2.3e-12', () => {
    for (let i = 0; i < 10_000; i++) {
      const x = -100 * random.uniform() ** 3
      expect(Math.abs(expOfNegative(x) / Math.exp(x) - 1)).toBeLessThan(2.3e-12)
    }
    expect([expOfNegative(0), expOfNegative(-1e9), expOfNegative(Number.NEGATIVE_INFINITY)]).toEqual([
      1, 0, 0,
    ])
    expect(expOfNegative(Number.NaN)).toBeNaN()
  })

  test('of equal logits the first is the top', () => {
    const top = new Int32Array(3)
    topTokens(Float32Array.of(9, 1, 3, 3, 2, 3), 1, 5, top)
    expect([...top]).toEqual([1, 2, 4])
  })
})

describe('statistics', () => {
  test('standard error of a mean', () => {
    const { mean, se } = estimate([1, 2, 3, 4])
    expect(mean).toBe(2.5)
    expect(se).toBeCloseTo(Math.sqrt(5 / 3 / 4), 12)
    expect(estimate([7]).se).toBe(Number.POSITIVE_INFINITY)
    expect(exponential({ mean: 0, se: 0.1 })).toEqual({ mean: 1, se: 0.1 })
    expect(root({ mean: 4, se: 0.4, interval: [-1, 9] })).toEqual({ mean: 2, se: 0.1, interval: [0, 3] })
    expect(estimate([1, 1, 1])).toEqual({ mean: 1, se: 0, interval: [1, 1] })
  })

  test('a ratio of sums over windows of different lengths', () => {
    const { mean, se } = ratio([2, 30, 1], [1, 10, 1])
    expect(mean).toBeCloseTo(33 / 12, 12)
    const squares = (2 - 2.75) ** 2 + (30 - 27.5) ** 2 + (1 - 2.75) ** 2
    expect(se).toBeCloseTo(Math.sqrt((squares * 3) / 2) / 12, 12)
  })

  test("points of Student's t and of Wilson's interval", () => {
    const known = [
      [1, 12.7062],
      [2, 4.3027],
      [3, 3.1824],
      [4, 2.7764],
      [7, 2.3646],
      [30, 2.0423],
      [31, 2.0395],
      [1000, 1.9623],
    ] as const
    for (const [degrees, t] of known) {
      expect(studentT(degrees)).toBeCloseTo(t, 4)
      expect(studentTail(studentT(degrees), degrees)).toBeCloseTo(0.05, 6)
    }
    // Of 1 and 2 degrees of freedom in closed form.
    for (const t of [0, 0.3, 2, 40]) {
      expect(studentTail(t, 1)).toBeCloseTo(1 - (2 * Math.atan(t)) / Math.PI, 12)
      expect(studentTail(-t, 2)).toBeCloseTo(1 - t / Math.sqrt(2 + t * t), 12)
    }
    expect(studentTail(5, 31)).toBeCloseTo(2.1478e-5, 8)
    expect(studentTail(Number.POSITIVE_INFINITY, 5)).toBe(0)
    const [low, high] = wilson(80, 100)
    expect(low).toBeCloseTo(0.7112, 4)
    expect(high).toBeCloseTo(0.8666, 4)
    expect(wilson(0, 10)[0]).toBe(0)
  })

  test('95 % intervals of means hold the truth 93 to 97 times of 100', () => {
    // Window means of a divergence are skewed to the right; these have a coefficient of variation of 0.3.
    for (const windows of [16, 48]) {
      let held = 0
      const times = 4000
      for (let i = 0; i < times; i++) {
        const { interval } = estimate(Array.from({ length: windows }, () => Math.exp(0.3 * random.normal())))
        const truth = Math.exp(0.3 ** 2 / 2)
        if (interval && interval[0] <= truth && truth <= interval[1]) held++
      }
      expect(held / times).toBeGreaterThan(0.93)
      expect(held / times).toBeLessThan(0.97)
    }
  })

  test('quantiles are linear between neighbours', () => {
    const sorted = Float32Array.of(0, 1, 2, 4)
    expect([0, 0.5, 1].map((share) => quantile(sorted, share))).toEqual([0, 1.5, 4])
    expect(quantile(sorted, 0.9)).toBeCloseTo(3.4, 12)
    expect(quantile(Float32Array.of(3), 0.99)).toBe(3)
    const infinite = Float64Array.of(-1, 0, 1, Infinity, Infinity)
    expect([0.5, 0.6, 0.9].map((share) => quantile(infinite, share))).toEqual([1, Infinity, Infinity])
  })
})

describe('gain', () => {
  const evaluated = (kld: number[]) => ({
    path: 'x.gguf',
    windowSums: { tokens: kld.map(() => 1), nll: kld, kld, top1: kld },
  })

  test('recovered', () => {
    // every window recovers the same share: no error, however different the windows are
    const same = recovered(evaluated([1, 10, 100]), evaluated([4, 40, 400]))
    expect(same.mean).toBeCloseTo(0.75, 12)
    expect(same.se).toBeCloseTo(0, 12)
    const { mean, se } = recovered(evaluated([1, 2, 3]), evaluated([4, 4, 4]))
    expect(mean).toBe(0.5)
    expect(se).toBeCloseTo(Math.sqrt((2 * 3) / 2) / 12, 12)
    expect(() => recovered(evaluated([1]), evaluated([1, 2]))).toThrow(/same evaluation/)
    expect(() => recovered(evaluated([1]), evaluated([0]))).toThrow(/loses nothing/)
  })

  test('the error of recovered is the spread of repeated samples', () => {
    const draw = (n: number) => {
      const ptq = Array.from({ length: n }, () => Math.exp(random.normal()))
      return recovered(evaluated(ptq.map((v) => v * (0.4 + 0.1 * random.normal()))), evaluated(ptq))
    }
    const draws = Array.from({ length: 400 }, () => draw(50))
    const spread = estimate(draws.map(({ mean }) => mean)).se * Math.sqrt(400)
    const claimed = draws.reduce((total, { se }) => total + se, 0) / 400
    expect(claimed / spread).toBeGreaterThan(0.8)
    expect(claimed / spread).toBeLessThan(1.2)
  })

  test('effective bits', () => {
    const ladder = [
      { bitsPerWeight: 8, kld: 0.001 },
      { bitsPerWeight: 4, kld: 0.1 },
      { bitsPerWeight: 5, kld: 0.5 }, // larger and worse: no rung
      { bitsPerWeight: 16, kld: 0 }, // without loss: no rung
      { bitsPerWeight: 6, kld: 0.01 },
    ]
    expect(effectiveBits(0.1, ladder)).toEqual({ value: 4, bound: 'exact' })
    expect(effectiveBits(0.001, ladder)).toEqual({ value: 8, bound: 'exact' })
    const between = effectiveBits(Math.sqrt(0.1 * 0.01), ladder)
    expect(between.value).toBeCloseTo(5, 12)
    expect(between.bound).toBe('exact')
    expect(effectiveBits(0.2, ladder)).toEqual({ value: 4, bound: 'atMost' })
    expect(effectiveBits(0, ladder)).toEqual({ value: 8, bound: 'atLeast' })
    expect(() => effectiveBits(1, [])).toThrow(/at least one/)
  })
})

test('the name of a file is not taken for a text', async () => {
  for (const text of ['package.json', ['once upon a time', 'package.json']])
    await expect(evaluateFiles({ reference: 'a.gguf', files: [], text })).rejects.toThrow(
      "package.json is a file or folder; read it with readTexts(['package.json'])",
    )
})
