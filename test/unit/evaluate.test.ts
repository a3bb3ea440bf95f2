/** The arithmetic of evaluation, against formulas written out plainly and against cases that can be seen through. */
import { describe, expect, test } from 'vitest'
import { type RowScore, scoreReference, scoreRow } from '../../src/evaluate/divergence.js'
import { effectiveBits, type FileEvaluation, recovered } from '../../src/evaluate/index.js'
import { estimate, exponential, quantile } from '../../src/evaluate/statistics.js'
import { Random } from '../../src/random.js'

const random = new Random(3)
const size = 300
const row = (scale: number) => Float32Array.from({ length: 2 * size }, () => random.normal() * scale)

function score(reference: Float32Array, logits: Float32Array, offset: number) {
  const probabilities = new Float64Array(size)
  const first: RowScore = { logSumExp: 0, top: 0, kld: 0 }
  const second: RowScore = { logSumExp: 0, top: 0, kld: 0 }
  scoreReference(reference, offset, probabilities, first)
  scoreRow(reference, logits, offset, probabilities, first.logSumExp, second)
  return { first, second, probabilities }
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
      const { first, second, probabilities } = score(a, b, offset)
      const [ra, rb] = [a, b].map((x) => x.subarray(offset, offset + size))
      expect(second.kld).toBeCloseTo(klDivergence(ra, rb), 10)
      expect(first.logSumExp).toBeCloseTo(Math.log(ra.reduce((s, v) => s + Math.exp(v), 0)), 10)
      expect(probabilities.reduce((s, v) => s + v, 0)).toBeCloseTo(1, 12)
      expect(second.top).toBe(rb.indexOf(Math.max(...rb)))
    }
  })

  test('a row against itself is exactly 0, and against itself moved by a constant nearly', () => {
    const a = row(5)
    const { first, second } = score(a, a.slice(), 0)
    expect(second).toEqual(first)
    expect(second.kld).toBe(0)
    const whole = Float32Array.from(a, (v) => Math.round(v * 64) / 64)
    const moved = whole.map((v) => v + 1000)
    expect(score(whole, moved, 0).second.kld).toBeLessThan(1e-10)
  })

  test('large logits do not overflow, and forbidden tokens (-Infinity) are no divergence', () => {
    const a = row(1)
    a[7] = 1e30
    expect(score(a, a.slice(), 0).second.kld).toBe(0)
    const b = row(1)
    b[5] = Number.NEGATIVE_INFINITY
    const c = b.map((v) => v * 0.5)
    const { kld } = score(b, c, 0).second
    expect(kld).toBeGreaterThan(0)
    expect(kld).toBeLessThan(1)
    b[5] = Number.NaN
    expect(score(b, c, 0).second.kld).toBeNaN()
  })
})

describe('statistics', () => {
  test('standard error of a mean', () => {
    const { mean, se } = estimate([1, 2, 3, 4])
    expect(mean).toBe(2.5)
    expect(se).toBeCloseTo(Math.sqrt(5 / 3 / 4), 12)
    expect(estimate([7]).se).toBe(Number.POSITIVE_INFINITY)
    expect(exponential({ mean: 0, se: 0.1 })).toEqual({ mean: 1, se: 0.1 })
  })

  test('quantiles are linear between neighbours', () => {
    const sorted = Float32Array.of(0, 1, 2, 4)
    expect([0, 0.5, 1].map((share) => quantile(sorted, share))).toEqual([0, 1.5, 4])
    expect(quantile(sorted, 0.9)).toBeCloseTo(3.4, 12)
    expect(quantile(Float32Array.of(3), 0.99)).toBe(3)
  })
})

describe('gain', () => {
  const zero = { mean: 0, se: 0 }
  const evaluated = (kld: number[]): FileEvaluation => ({
    path: 'x.gguf',
    type: 'Q4_0',
    bytes: 1,
    bitsPerWeight: 4.5,
    perplexity: zero,
    kld: { ...zero, min: 0, median: 0, p90: 0, p95: 0, p99: 0, max: 0 },
    top1: zero,
    windowSums: { nll: kld, kld, top1: kld },
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
