/**
 * The choice among ways of rounding a matrix: what is taken is no worse than stock on tokens that it was not computed from, however few,
 * odd or empty those are that it was; and with enough of them it is what was solved for.
 */
import { describe, expect, test } from 'vitest'
import { type Chosen, chooseCodes, type Trial } from '../../src/blockwise/candidates.js'
import { damp, factorize, shrink } from '../../src/blockwise/factor.js'
import { leastSquaresStep } from '../../src/blockwise/least-squares.js'
import { thisThread } from '../../src/blockwise/row-pool.js'
import { shrinkageOf } from '../../src/blockwise/solve.js'
import { formatNamed } from '../../src/formats/table.js'
import { quantizeRows } from '../../src/llama/index.js'
import { Random } from '../../src/random.js'
import { gaussian } from '../support/gaussian.js'
import { products } from '../support/products.js'

const [n, out] = [256, 24]
const hands = { products, rows: thisThread }

/** Tokens of a kind of text: what the teacher's matrix reads, and the student's, which is a little off. */
interface Tokens {
  readonly count: number
  readonly teacher: Float32Array
  readonly student: Float32Array
}

/** A few common directions of the kind's own, inputs of which some are ten times as large as others, and noise. */
function textOf(kind: number): (count: number, seed: number) => Tokens {
  const own = new Random(100 + kind)
  const directions = gaussian(own, 6 * n)
  const scales = Float32Array.from({ length: n }, (_, i) => (i % 40 === 7 ? 10 : 0.5 + own.uniform()))
  return (count, seed) => {
    const random = new Random(1000 * kind + seed)
    const teacher = new Float32Array(count * n)
    for (let t = 0; t < count; t++) {
      const strengths = gaussian(random, 6)
      for (let i = 0; i < n; i++) {
        const common = strengths.reduce((sum, s, k) => sum + s * directions[k * n + i], 0)
        teacher[t * n + i] = scales[i] * (common + 0.5 * random.normal())
      }
    }
    const student = teacher.map((x, i) => x * 0.95 + 0.1 * scales[i % n] * random.normal())
    return { count, teacher, student }
  }
}
const kinds = [1, 2].map(textOf)
const weights = gaussian(new Random(5), out * n)

const given = (tokens: Float32Array, matrix: Float32Array): Promise<Float32Array> =>
  products.multiply(tokens, matrix, [tokens.length / n, n, out], { transB: true })

async function trialOf(parts: readonly Tokens[]): Promise<Required<Trial>> {
  const bounds = [0]
  for (const { count } of parts) bounds.push(bounds[bounds.length - 1] + count)
  const inputs = Float32Array.from(parts.flatMap(({ student }) => [...student]))
  const teacher = Float32Array.from(parts.flatMap((part) => [...part.teacher]))
  return { tokens: bounds.at(-1) as number, inputs, target: await given(teacher, weights), bounds }
}

/** Two kinds of text, and tokens of them that nothing is computed from. */
const trial = await trialOf(kinds.map((tokens) => tokens(64, 1)))
const fresh = await trialOf(kinds.map((tokens) => tokens(400, 2)))

const stock = (type: string) => {
  const format = formatNamed(type)!
  return { format, present: format.decode(quantizeRows(format.type, weights, n)) }
}

async function choose(
  type: string,
  { count, teacher, student }: Tokens,
  { own = trial, outputs }: { own?: Required<Trial>; outputs?: Float32Array } = {},
): Promise<Chosen> {
  const { format, present } = stock(type)
  const inputs = await products.multiply(student, student, [n, count, n], { transA: true })
  const target = await given(teacher, weights)
  const wanted = await products.multiply(target, student, [out, count, n], { transA: true })
  const metric = shrink(inputs, shrinkageOf(n, count))
  const factor = await factorize(metric, products)
  const step = () => leastSquaresStep(weights, wanted, inputs, factor, products)
  const evidence = { metric, factor, inputs, step, outputs }
  return chooseCodes(format, weights, present, evidence, own, hands)
}

/** Squared error by kind, as a share of that of the codes of the reference quantizer. */
async function shares(
  type: string,
  { codes }: Chosen,
  { inputs, target, bounds }: Required<Trial>,
): Promise<number[]> {
  const { format, present } = stock(type)
  const sums: number[][] = []
  for (const each of [codes, present]) {
    const error = (await given(inputs, format.dequantize(each))).map((y, i) => y - target[i])
    expect(error.every(Number.isFinite)).toBe(true)
    sums.push(
      bounds.slice(1).map((end, kind) => {
        const own = error.subarray(bounds[kind] * out, end * out)
        return own.reduce((sum, e) => sum + e * e, 0)
      }),
    )
  }
  return sums[0].map((sum, kind) => sum / sums[1][kind])
}
const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length

const types = ['Q4_0', 'Q2_K']

describe('the choice', () => {
  test.each(types)('%s: is what was solved for where tokens are many, and far better', async (type) => {
    const many = kinds.map((tokens) => tokens(1024, 3))
    const both = {
      count: 2048,
      teacher: Float32Array.from(many.flatMap(({ teacher }) => [...teacher])),
      student: Float32Array.from(many.flatMap(({ student }) => [...student])),
    }
    const chosen = await choose(type, both)
    const found = await shares(type, chosen, fresh)
    expect(chosen.choice).toBe('solved')
    expect(chosen.error).toBeLessThan(0.3)
    for (const share of found) expect(share).toBeLessThan(0.3)
  })

  test.each(types)('%s: is no worse than stock on other tokens, from as few as one', async (type) => {
    for (const count of [1, 2, 16])
      for (const kind of [0, 1]) {
        const chosen = await choose(type, kinds[kind](count, 4))
        const found = await shares(type, chosen, fresh)
        expect(chosen.error).toBeLessThanOrEqual(1)
        expect(mean(await shares(type, chosen, trial))).toBeCloseTo(chosen.error, 4)
        expect(mean(found)).toBeLessThan(0.9)
      }
  })

  test.each(types)(
    '%s: is no worse for one token again and again, nor for inputs that are always zero',
    async (type) => {
      const { teacher, student } = kinds[0](1, 5)
      const again = (x: Float32Array): Float32Array =>
        Float32Array.from({ length: 64 * n }, (_, i) => x[i % n])
      const constant = { count: 64, teacher: again(teacher), student: again(student) }
      const half = kinds[0](64, 6)
      const without = (x: Float32Array, zero: (i: number) => boolean): Float32Array =>
        x.map((value, i) => (zero(i % n) ? 0 : value))
      const zeros = [(i: number) => i < n / 2, (i: number) => i % 3 === 0, () => true].map((zero) => ({
        count: 64,
        teacher: without(half.teacher, zero),
        student: without(half.student, zero),
      }))
      for (const odd of [constant, ...zeros]) {
        const chosen = await choose(type, odd)
        const found = await shares(type, chosen, fresh)
        expect(chosen.error).toBeLessThanOrEqual(1)
        expect(mean(found)).toBeLessThanOrEqual(1)
      }
    },
  )
})

describe('the trial', () => {
  const few = kinds[0](48, 7)

  test('of a single kind decides for it alone', async () => {
    const single = await trialOf([kinds[0](64, 1)])
    const chosen = await choose('Q3_K', few, { own: single })
    expect(chosen.choice).not.toBe('as it was')
    const [share] = await shares('Q3_K', chosen, single)
    expect(share).toBeCloseTo(chosen.error, 4)
    const both = await choose('Q3_K', few)
    // With a second kind, which the tokens are not of, it may gain less on the first.
    expect(share).toBeLessThanOrEqual((await shares('Q3_K', both, single))[0] * 1.001)
  })

  test('does not count the tokens that fill up its last batch', async () => {
    const filled = new Float32Array(32 * n).fill(1000)
    const wrong = new Float32Array(32 * out).fill(-1e6)
    const own = {
      tokens: trial.tokens + 32,
      inputs: Float32Array.from([...trial.inputs, ...filled]),
      target: Float32Array.from([...trial.target, ...wrong]),
      bounds: trial.bounds,
    }
    expect(await choose('Q4_0', few, { own })).toEqual(await choose('Q4_0', few))
  })

  test('that says nothing leaves the matrix as it was', async () => {
    const silent = { ...trial, inputs: trial.inputs.map(() => 0), target: trial.target.map(() => 0) }
    expect(await choose('Q4_0', few, { own: silent })).toMatchObject({ choice: 'as it was', error: 1 })
  })

  test('counts errors in the metric of the outputs', async () => {
    // Only the first output matters.
    const outputs = new Float32Array(out * out)
    outputs[0] = 1
    const damped = damp(outputs, 1e-6)
    const chosen = await choose('Q2_K', kinds[0](512, 8), { outputs: damped })
    const { format, present } = stock('Q2_K')
    const errorOf = async (codes: typeof present): Promise<number> => {
      const y = await given(fresh.inputs, format.dequantize(codes))
      return Array.from({ length: fresh.tokens }, (_, t) => (y[t * out] - fresh.target[t * out]) ** 2).reduce(
        (a, b) => a + b,
      )
    }
    expect(await errorOf(chosen.codes)).toBeLessThan(0.6 * (await errorOf(present)))
  })
})
