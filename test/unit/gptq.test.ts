/** Error-compensating rounding: its codes are on the grid, and it loses less in the metric of the inputs. */
import { describe, expect, it } from 'vitest'
import { damp, factorize, shrink } from '../../src/blockwise/factor.js'
import { roundCompensated } from '../../src/blockwise/gptq.js'
import { leastSquaresStep, shareStep } from '../../src/blockwise/least-squares.js'
import type { Grid } from '../../src/formats/format.js'
import { integers, nearest } from '../../src/formats/levels.js'
import { Random } from '../../src/random.js'
import { products } from '../support/products.js'

const [n, rows, groupSize] = [48, 12, 16]

/** Inputs of which a few directions are large, as those of a transformer's layers are. */
function correlatedMoments(random: Random): Float32Array {
  const moments = new Float32Array(n * n)
  for (let sample = 0; sample < 400; sample++) {
    const common = random.normal()
    const x = Float32Array.from({ length: n }, (_, i) => random.normal() + 3 * common * Math.sin(i))
    for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) moments[i * n + j] += x[i] * x[j]
  }
  return moments
}

/** Sum over rows of e H e', for the errors e of a matrix. */
function loss(errors: Float32Array, moments: Float32Array): number {
  let total = 0
  for (let r = 0; r < rows; r++)
    for (let i = 0; i < n; i++)
      for (let j = 0; j < n; j++) total += errors[r * n + i] * errors[r * n + j] * moments[i * n + j]
  return total
}

function setting(): { weights: Float32Array; moments: Float32Array; grid: Grid } {
  const random = new Random(4)
  const moments = correlatedMoments(random)
  const weights = Float32Array.from({ length: rows * n }, () => random.normal())
  const groups = (rows * n) / groupSize
  const scales = new Float32Array(groups).fill(0.9)
  return {
    weights,
    moments,
    grid: { scales, mins: new Float32Array(groups).fill(1.3), levels: integers(0, 3) },
  }
}

const value = (grid: Grid, q: Float32Array, i: number): number => {
  const group = Math.floor(i / groupSize)
  return grid.scales[group] * q[i] - (grid.mins?.[group] ?? 0)
}
const roundedToNearest = (grid: Grid, weights: Float32Array): Float32Array =>
  weights.map((w, i) => {
    const group = Math.floor(i / groupSize)
    return nearest(grid.levels, (w + (grid.mins?.[group] ?? 0)) / grid.scales[group])
  })

describe('roundCompensated', () => {
  it('loses far less than rounding to nearest where inputs are correlated', async () => {
    const { weights, moments, grid } = setting()
    const plain = roundedToNearest(grid, weights)
    const q = await roundCompensated(weights, grid, await factorize(damp(moments, 0.01), products), products)
    const errors = (codes: Float32Array) => weights.map((w, i) => value(grid, codes, i) - w)
    expect(loss(errors(q), moments)).toBeLessThan(0.5 * loss(errors(plain), moments))
  })

  it('gives codes of the grid', async () => {
    const { weights, moments, grid } = setting()
    const q = await roundCompensated(weights, grid, await factorize(damp(moments, 0.01), products), products)
    expect(q.every((code) => Number.isInteger(code) && code >= 0 && code <= 3)).toBe(true)
  })

  it('is rounding to nearest where inputs are independent', async () => {
    const { weights, grid } = setting()
    const identity = Float32Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? 1 : 0))
    expect(await roundCompensated(weights, grid, await factorize(identity, products), products)).toEqual(
      roundedToNearest(grid, weights),
    )
  })

  it('gives code 0 where a group has no scale, and finite numbers where an input never occurs', async () => {
    const { weights, moments, grid } = setting()
    grid.scales[1] = 0
    for (let i = 0; i < n; i++) moments[5 * n + i] = moments[i * n + 5] = 0
    const q = await roundCompensated(weights, grid, await factorize(damp(moments, 0.01), products), products)
    expect(q.subarray(groupSize, 2 * groupSize).every((code) => code === 0)).toBe(true)
    expect(q.every(Number.isFinite)).toBe(true)
  })
})

describe('factorize', () => {
  it("gives the factor of the inverse: U H U' is the unit matrix", async () => {
    const { moments } = setting()
    const { order, inverse: factor } = await factorize(damp(moments, 0.01), products)
    let mean = 0
    for (let i = 0; i < n; i++) mean += moments[i * n + i] / n
    const h = (i: number, j: number): number => moments[order[i] * n + order[j]] + (i === j ? 0.01 * mean : 0)
    for (let a = 0; a < n; a += 7)
      for (let b = 0; b < n; b += 5) {
        // (R^-1) H (R^-1)' with H = R R'
        let product = 0
        for (let i = 0; i < n; i++)
          for (let j = 0; j < n; j++) product += factor[a * n + i] * h(i, j) * factor[b * n + j]
        expect(product).toBeCloseTo(a === b ? 1 : 0, 4)
      }
  })
})

describe('factorize', () => {
  it("works in blocks: U H U' is the unit matrix for more columns than one block has", async () => {
    const size = 300
    const random = new Random(3)
    const x = Float32Array.from({ length: 2 * size * size }, () => random.normal())
    const moments = damp(await products.multiply(x, x, [size, 2 * size, size], { transA: true }), 0.1)
    const { order, inverse } = await factorize(moments, products)
    const h = Float32Array.from(
      { length: size * size },
      (_, i) => moments[order[Math.floor(i / size)] * size + order[i % size]],
    )
    const half = await products.multiply(inverse, h, [size, size, size])
    const unit = await products.multiply(half, inverse, [size, size, size], { transB: true })
    const errors = unit.map((value, i) => Math.abs(value - (i % (size + 1) === 0 ? 1 : 0)))
    expect(errors.reduce((a, b) => Math.max(a, b))).toBeLessThan(1e-4)
  })
})

describe('leastSquaresStep', () => {
  it('leads to the matrix that gives the wanted products, and nowhere from one that does', async () => {
    const { weights, moments } = setting()
    const random = new Random(5)
    const other = weights.map((w) => w + 0.1 * random.normal())
    const damped = damp(moments, 1e-4)
    const factor = await factorize(damped, products)
    const wanted = await products.multiply(other, moments, [rows, n, n])
    const step = await leastSquaresStep(weights, wanted, moments, factor, products)
    const off = (along: number) =>
      loss(
        weights.map((w, i) => w + along * step[i] - other[i]),
        moments,
      )
    expect(off(1)).toBeLessThan(1e-3 * off(0))
    const same = await products.multiply(weights, moments, [rows, n, n])
    const none = await leastSquaresStep(weights, same, moments, factor, products)
    expect(loss(none, moments)).toBeLessThan(1e-6)
  })

  it('goes less far the more the moments were drawn towards their diagonal, and never away', async () => {
    const { weights, moments } = setting()
    const random = new Random(6)
    const other = weights.map((w) => w + 0.1 * random.normal())
    const wanted = await products.multiply(other, moments, [rows, n, n])
    const left: number[] = []
    for (const share of [0.01, 0.5, 2, 10]) {
      const factor = await factorize(shrink(moments, share), products)
      const step = await leastSquaresStep(weights, wanted, moments, factor, products)
      const off = weights.map((w, i) => w + step[i] - other[i])
      left.push(
        loss(off, moments) /
          loss(
            other.map((w, i) => w - weights[i]),
            moments,
          ),
      )
    }
    expect(left).toEqual(left.toSorted((a, b) => a - b))
    expect(left[0]).toBeLessThan(0.01)
    expect(left[3]).toBeLessThan(1)
  })
})

describe('shareStep', () => {
  it('is the step of any matrix whose target is its product with other inputs', async () => {
    const { weights, moments } = setting()
    const random = new Random(8)
    const others = moments.map((m) => m * (1 + 0.1 * random.normal())) // Z'X
    const wanted = await products.multiply(weights, others, [rows, n, n])
    const factor = await factorize(shrink(moments, 0.5), products)
    const step = await leastSquaresStep(weights, wanted, moments, factor, products)
    await shareStep(others, moments, factor, products)
    const shared = await products.multiply(weights, others, [rows, n, n])
    const size = Math.max(...step.map(Math.abs))
    for (const [i, value] of step.entries()) expect(Math.abs(shared[i] - value)).toBeLessThan(1e-4 * size)
  })
})

describe('shrink', () => {
  const correlation = (moments: Float32Array, i: number, j: number): number =>
    moments[i * n + j] / Math.sqrt(moments[i * n + i] * moments[j * n + j])

  it('draws every correlation towards zero by the same factor, and none past it', () => {
    const { moments } = setting()
    for (const share of [0, 0.1, 1, 10]) {
      const shrunk = shrink(moments, share)
      const off = moments.map((m, at) => {
        const [i, j] = [Math.floor(at / n), at % n]
        if (i === j) return shrunk[at] / m / (1 + share) - 1
        return shrunk[at] - m || correlation(shrunk, i, j) * (1 + share) - correlation(moments, i, j)
      })
      expect(Math.max(...off.map(Math.abs))).toBeLessThan(1e-4)
    }
  })

  it('does not ask how large an input is: one that is a thousand times larger changes no correlation', () => {
    const { moments } = setting()
    const size = (i: number): number => (i === 7 ? 1000 : 1)
    const scaled = moments.map((m, at) => m * size(Math.floor(at / n)) * size(at % n))
    const [plain, other] = [shrink(moments, 0.5), shrink(scaled, 0.5)]
    for (let i = 0; i < n; i++)
      for (let j = 0; j < i; j++)
        expect(Math.abs(correlation(other, i, j) / correlation(plain, i, j) - 1)).toBeLessThan(0.1)
    // Damping by the mean of the diagonal would have drowned all others.
    expect(correlation(damp(scaled, 0.5), 20, 21) / correlation(moments, 20, 21)).toBeLessThan(0.2)
  })

  it('makes moments that can be factored of inputs that are always zero, and of a single token', async () => {
    const random = new Random(9)
    const x = Float32Array.from({ length: n }, (_, i) => (i % 5 === 0 ? 0 : random.normal()))
    const one = await products.multiply(x, x, [n, 1, n], { transA: true })
    for (const moments of [one, new Float32Array(n * n)]) {
      const { inverse } = await factorize(shrink(moments, 10), products)
      expect(inverse.every(Number.isFinite)).toBe(true)
    }
  })
})
