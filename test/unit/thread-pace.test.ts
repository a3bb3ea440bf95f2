/** The number of threads for a batch, by what batches took. */
import { expect, test } from 'vitest'
import { ThreadPace } from '../../src/llama/thread-pace.js'
import { Random } from '../../src/random.js'

/** Computes batches on a machine that takes `ms(threads)` for one; returns the threads of each. */
function run(pace: ThreadPace, batches: number, ms: (threads: number) => number): number[] {
  return Array.from({ length: batches }, () => {
    const threads = pace.threads(undefined, 32)
    pace.took(32 * ms(threads), 32)
    return threads
  })
}

const share = (all: readonly number[], wanted: number): number =>
  all.filter((threads) => threads === wanted).length / all.length

test('begins with all threads, and keeps them where they help', () => {
  const threads = run(new ThreadPace(8, undefined, 8, () => undefined), 1000, (n) => 8 / n)
  expect(threads[0]).toBe(8)
  expect(share(threads, 8)).toBeGreaterThan(0.97)
})

test('begins with as many as there are cores to spare, and finds out if there are more', () => {
  const threads = run(new ThreadPace(2, undefined, 0, () => undefined), 400, (n) => 2 / n)
  expect(threads[0]).toBe(1)
  expect(share(threads, 2)).toBeGreaterThan(0.95)
})

test('takes one where two wait for each other', () => {
  const random = new Random(5)
  const threads = run(
    new ThreadPace(2, undefined, 2, () => undefined),
    200,
    (n) => (n === 1 ? 35 : 400) * (0.8 + 0.4 * random.uniform()),
  )
  expect(share(threads, 1)).toBeGreaterThan(0.95)
})

test('finds a number in between, and follows a machine that changes', () => {
  const pace = new ThreadPace(16, undefined, 16, () => undefined)
  const few = (best: number) => (n: number) => (n <= best ? best / n : (4 * n) / best)
  expect(share(run(pace, 400, few(4)).slice(20), 4)).toBeGreaterThan(0.9)
  expect(share(run(pace, 2000, few(16)).slice(1000), 16)).toBeGreaterThan(0.9)
})

test('noise changes nothing for long', () => {
  const random = new Random(9)
  const threads = run(
    new ThreadPace(4, undefined, 4, () => undefined),
    2000,
    (n) => (4 / n) * (0.7 + 0.6 * random.uniform()),
  )
  expect(share(threads, 4)).toBeGreaterThan(0.9)
})

test('where no thread waits for a core, fewer are not tried', () => {
  let waited = 0
  const pace = new ThreadPace(4, undefined, 4, () => waited)
  expect(
    share(
      run(pace, 500, (n) => 1 / n),
      4,
    ),
  ).toBe(1)
  const slow = run(pace, 100, (n) => {
    waited += 1e6
    return n
  })
  expect(slow.at(-1)).toBe(1)
})

test('of one thread never more or fewer', () => {
  expect(new Set(run(new ThreadPace(1, undefined, 1, () => undefined), 50, () => 1))).toEqual(new Set([1]))
})

test('takes all threads for a batch of which a token may be alone', () => {
  const pace = new ThreadPace(2, 64, 2, () => undefined)
  const slow = (ids: readonly number[] | undefined, tokens: number): number => {
    const threads = pace.threads(ids, tokens)
    pace.took(threads === 1 ? 1 : 100, tokens)
    return threads
  }
  for (let i = 0; i < 10; i++) slow([0, 1], 2)
  expect(slow([0, 1], 2)).toBe(1)
  expect(slow([0, 0, 1, 1], 4)).toBe(1)
  expect(slow(undefined, 64)).toBe(1)
  for (const [ids, tokens] of [
    [undefined, 1],
    [undefined, 65],
    [[0, 0, 1], 3],
  ] as const)
    expect(slow(ids, tokens)).toBe(2)
  expect(slow([0, 1], 2)).toBe(1)
})
