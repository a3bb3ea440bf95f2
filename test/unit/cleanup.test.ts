/** Clean-up that runs to its end, and the error that is told. */
import { describe, expect, test } from 'vitest'
import { releaseAll, withCleanup } from '../../src/cleanup.js'
import { aboutTensors, FileError, QuenchError, UsageError } from '../../src/errors.js'

describe('what is deferred', () => {
  const run = async (fails: { work?: boolean; b?: boolean; a?: boolean }) => {
    const calls: string[] = []
    const step = (name: 'a' | 'b') => async () => {
      calls.push(name)
      if (fails[name]) throw new Error(name)
    }
    const result = await withCleanup(async (defer) => {
      defer(step('a'))
      defer(step('b'))
      if (fails.work) throw new Error('work')
      return 'done'
    }).catch((error: unknown) => (error as Error).message)
    return { result, calls }
  }

  test.each([
    [{}, 'done'],
    [{ work: true }, 'work'],
    [{ b: true }, 'b'],
    [{ a: true }, 'a'],
    [{ a: true, b: true }, 'b'],
    [{ work: true, a: true, b: true }, 'work'],
  ])('%o: runs once, the last first, and the first error is told', async (fails, expected) => {
    expect(await run(fails)).toEqual({ result: expected, calls: ['b', 'a'] })
  })
})

test('all are released, whatever throws', async () => {
  const calls: number[] = []
  const releases = [1, 2, 3].map((n) => () => {
    calls.push(n)
    if (n < 3) throw new Error(`${n}`)
  })
  await expect(releaseAll(releases)).rejects.toThrow('1')
  expect(calls).toEqual([1, 2, 3])
})

test('an error without a file gets file and tensors, others stay', () => {
  const own = aboutTensors('m.gguf', ['blk.0.a', 'blk.0.b'], new QuenchError('it is NaN'))
  expect(own).toBeInstanceOf(FileError)
  expect(own).toMatchObject({ path: 'm.gguf', message: 'm.gguf: blk.0.a, blk.0.b: it is NaN', exitCode: 1 })
  for (const error of [new FileError('x', 'y'), new UsageError('z'), new TypeError('bug')])
    expect(aboutTensors('m.gguf', 'blk.0.a', error)).toBe(error)
})
