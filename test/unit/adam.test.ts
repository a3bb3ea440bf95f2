/** Adam against its formulas, written out with bias-corrected moments. */
import { expect, test } from 'vitest'
import { Random } from '../../src/random.js'
import { adam } from '../../src/train/adam.js'

test('follows the formulas, in units of the values', () => {
  const random = new Random(2)
  const size = 12
  const unit = Float32Array.of(0.5, 2, 1)
  const values = Float32Array.from({ length: size }, () => random.normal())
  const moments = { first: new Float32Array(size), second: new Float32Array(size) }
  const wanted = Float64Array.from(values)
  const [m, v] = [new Float64Array(size), new Float64Array(size)]
  for (let number = 1; number <= 5; number++) {
    const gradient = Float32Array.from({ length: size }, () => random.normal())
    adam(values, gradient, moments, unit, { rate: 0.01, gradientScale: 0.25, number })
    for (let i = 0; i < size; i++) {
      const u = unit[Math.floor(i / 4)]
      const g = gradient[i] * 0.25 * u
      m[i] = 0.9 * m[i] + 0.1 * g
      v[i] = 0.95 * v[i] + 0.05 * g * g
      wanted[i] -= (u * 0.01 * (m[i] / (1 - 0.9 ** number))) / Math.sqrt(v[i] / (1 - 0.95 ** number))
    }
  }
  for (let i = 0; i < size; i++) expect(values[i]).toBeCloseTo(wanted[i], 5)
})
