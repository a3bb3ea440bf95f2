/** The kernel of rounding and descent gives what plain loops give, to the last bit. */
import { expect, test } from 'vitest'
import { inDescent, kernel } from '../../src/blockwise/descent.js'
import { Random } from '../../src/random.js'

const width = 44
const { block, slope, direction, left } = inDescent

function fill(): Float64Array {
  const random = new Random(2)
  for (let i = 0; i < width * width; i++) block[i] = random.normal()
  for (let k = 0; k < width; k++) slope[k] = random.normal()
  for (let j = 0; j < width; j++) direction[j] = j % 5 === 0 ? 0 : random.normal()
  return slope.slice()
}

/** slope + by * H[row], as JavaScript computes it. */
const moved = (from: Float64Array, row: number, by: number): Float64Array =>
  from.map((value, k) => (k < width ? value + by * block[row * width + k] : value))

test.each([0, 7, width - 1])('a weight that moves: %i', (row) => {
  const before = fill()
  kernel.move(row, width, -0.3)
  expect(slope).toEqual(moved(before, row, -0.3))
})

test('weights that move along a direction, those that stay left out', () => {
  let wanted = fill()
  for (let row = 8; row < 24; row++)
    if (direction[row] !== 0) wanted = moved(wanted, row, 0.7 * direction[row])
  block.fill(Number.NaN, 10 * width, 11 * width) // of a row whose direction is 0
  kernel.moveAlong(8, 24, width, 0.7)
  expect(slope).toEqual(wanted)
})

test.each([0, 1, 6, 20, width - 1])('what rounding column %i does to those behind it', (row) => {
  fill()
  for (let i = 0; i < width; i++) for (let j = 0; j < i; j++) block[i * width + j] = 0 // U
  const random = new Random(4)
  for (let j = 0; j < width; j++) left[j] = random.normal()
  const wanted = left.map((value, j) => (j > row ? value - 0.3 * block[row * width + j] : value))
  kernel.propagate(row, width, 0.3)
  expect(left.subarray(row + 1, width)).toEqual(wanted.subarray(row + 1, width))
})
