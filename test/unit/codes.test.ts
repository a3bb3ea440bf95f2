/** Grids that the kernel cannot take: refused, never endless. */
import { expect, test } from 'vitest'
import { roundToGrid } from '../../src/backends/cpu/grid.js'
import { integers } from '../../src/formats/levels.js'

test('a group longer than the kernel takes at once is refused', () => {
  const round = (group: number) => {
    const weights = new Float32Array(2 * group)
    roundToGrid(
      new Float32Array(2 * group).fill(0.4),
      { scales: Float32Array.of(1, 1), levels: integers(0, 3) },
      weights,
    )
    return weights
  }
  expect(round(4096)).toEqual(new Float32Array(8192))
  expect(() => round(8192)).toThrow("groups of 8192 weights are longer than the kernel's 4096")
})
