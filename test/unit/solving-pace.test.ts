/** Tokens to solve a block on, so that a stage ends in time. */
import { expect, test } from 'vitest'
import { SolvingPace } from '../../src/blockwise/pace.js'

/** Solves blocks that take `ms` for a batch; returns the batches of each, and when it ended. */
function solve(blocks: number, batches: number, until: number, ms: (block: number) => number) {
  const pace = new SolvingPace(until, 2, 500)
  const solved: number[] = []
  let time = 0
  let left = batches
  for (let block = 0; block < blocks; block++) {
    left = pace.batches(blocks - block, left, time)
    solved.push(left)
    time += left * ms(block)
    pace.took((left * ms(block)) / 1000, left)
  }
  return { solved, time }
}

test('all batches where there is time', () => {
  expect(solve(10, 16, 16_000, () => 100)).toEqual({ solved: new Array(10).fill(16), time: 16_000 })
})

test('a little late is left alone', () => {
  expect(solve(10, 16, 15_600, () => 100).solved).toEqual(new Array(10).fill(16))
})

test('fewer where the machine has become slow, and never more again', () => {
  const { solved, time } = solve(10, 16, 16_000, (block) => (block < 4 ? 100 : 250))
  expect(solved.slice(0, 5)).toEqual(new Array(5).fill(16))
  expect(solved.slice(5)).toEqual(new Array(5).fill(4))
  expect(time).toBeLessThan(16_500)
})

test('none where time is over, once fewer were tried', () => {
  const { solved, time } = solve(6, 16, 4000, (block) => (block === 0 ? 100 : 1000))
  expect(solved).toEqual([16, 4, 0, 0, 0, 0])
  expect(time).toBe(5600)
  expect(solve(4, 2, 100, () => 1000).solved).toEqual([2, 0, 0, 0])
})
