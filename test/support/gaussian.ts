/** Random arrays for tests: `size` normal values of standard deviation `scale`. */
import type { Random } from '../../src/random.js'

export function gaussian(random: Random, size: number, scale = 1): Float32Array {
  return Float32Array.from({ length: size }, () => scale * random.normal())
}
