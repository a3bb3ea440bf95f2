/** Adam against its formulas, written out with bias-corrected moments. */
import { expect, test } from 'vitest'
import { adam } from '../../src/backends/cpu/adam.js'
import { Random } from '../../src/random.js'

// Runs of a unit that fit four lanes or do not, each value with its own, and one longer than the kernel's memory.
test.each([
  [12, 3],
  [18, 3],
  [8, 8],
  [7, 7],
  [9001, 1],
  [12_320, 385],
])('follows the formulas, %i values in %i units', (size, units) => {
  const random = new Random(2)
  const unit = Float32Array.from({ length: units }, () => 0.5 + random.uniform())
  const values = Float32Array.from({ length: size }, () => random.normal())
  const moments = { first: new Float32Array(size), second: new Float32Array(size) }
  const wanted = Float64Array.from(values)
  const [m, v] = [new Float64Array(size), new Float64Array(size)]
  for (let number = 1; number <= 5; number++) {
    const gradient = Float32Array.from({ length: size }, () => random.normal())
    adam(values, gradient, moments, unit, { rate: 0.01, gradientScale: 0.25, number })
    for (let i = 0; i < size; i++) {
      const u = unit[Math.floor(i / (size / units))]
      const g = gradient[i] * 0.25 * u
      m[i] = 0.9 * m[i] + 0.1 * g
      v[i] = 0.95 * v[i] + 0.05 * g * g
      wanted[i] -= (u * 0.01 * (m[i] / (1 - 0.9 ** number))) / Math.sqrt(v[i] / (1 - 0.95 ** number))
    }
  }
  const worst = values.reduce((most, x, i) => Math.max(most, Math.abs(x - wanted[i])), 0)
  expect(worst).toBeLessThan(1e-5)
})

test('moments without a gradient end at zero, not at denormal numbers', () => {
  const values = new Float32Array(16).fill(1)
  const moments = { first: new Float32Array(16).fill(1e-20), second: new Float32Array(16) }
  for (let number = 1; number <= 400; number++)
    adam(values, new Float32Array(16), moments, Float32Array.of(1), {
      rate: 0.01,
      gradientScale: 1,
      number: number + 10_000,
    })
  expect(moments.first).toEqual(new Float32Array(16))
})
