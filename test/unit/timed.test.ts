import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { median, timed } from '../../src/plan/timed.js'

/** Milliseconds. */
let clock = 0
beforeEach(() => {
  clock = 0
  vi.spyOn(performance, 'now').mockImplementation(() => clock)
})
afterEach(() => void vi.restoreAllMocks())

/** Work whose runs take these seconds, the last of them again and again. */
function work(...seconds: number[]): { run: () => Promise<void>; runs: () => number } {
  let runs = 0
  return {
    run: async () => {
      clock += 1000 * seconds[Math.min(runs++, seconds.length - 1)]
    },
    runs: () => runs,
  }
}

it('is the median of three runs after the first, which compiles', async () => {
  const own = work(9, 0.1, 0.3, 0.2, 7)
  expect(await median(own.run)).toBeCloseTo(0.2, 9)
  expect(own.runs()).toBe(4)
})

it('repeats short runs', async () => {
  const own = work(1, 0.0001)
  expect(await median(own.run)).toBeCloseTo(0.0001, 9)
  expect(own.runs()).toBe(26)
})

it('repeats runs of many batches less often', async () => {
  const own = work(1, 0.1)
  await median(own.run, 8)
  expect(own.runs()).toBe(3)
})

it('does not repeat a long run', async () => {
  const own = work(60, 30)
  expect(await median(own.run)).toBe(30)
  expect(own.runs()).toBe(2)
})

it('leaves out what is not to be counted', async () => {
  let other = 0
  const own = async () => {
    clock += 5000
    other += 2
  }
  expect(await timed(own, () => other)).toBe(3)
})
