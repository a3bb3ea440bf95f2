/** Second moments of inputs or gradients, for tests of descent. */
import { damp } from '../../src/blockwise/factor.js'
import type { Random } from '../../src/random.js'

/** Second moments of vectors with a few large directions. */
export function moments(size: number, random: Random): Float32Array {
  const sums = new Float32Array(size * size)
  for (let sample = 0; sample < 64; sample++) {
    const common = random.normal()
    const x = Float32Array.from({ length: size }, (_, i) => random.normal() + 2 * common * Math.sin(i))
    for (let i = 0; i < size; i++) for (let j = 0; j < size; j++) sums[i * size + j] += x[i] * x[j]
  }
  return damp(sums, 0.1)
}
