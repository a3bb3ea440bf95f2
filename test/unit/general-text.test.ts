/** Windows of several kinds: how they are split and mixed. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { inTurns, ofEachKind, splitKinds } from '../../src/training-text/general-text.js'
import type { KindWindows } from '../../src/validation/validation.js'

/** Windows of one token, of which the thousands are their kind. */
const text = (...counts: number[]): KindWindows[] =>
  counts.map((count, k) => ({
    kind: `kind ${k}`,
    windows: Array.from({ length: count }, (_, i) => Int32Array.of(1000 * k + i)),
  }))
const numbers = (windows: readonly Int32Array[]): number[] => windows.map(([n]) => n)
const counts = fc.array(fc.integer({ min: 0, max: 60 }), { minLength: 1, maxLength: 6 })

describe('a split', () => {
  test('takes as many of each kind, spread over it, and leaves the others in order', () => {
    const { taken, rest } = splitKinds(text(10, 4), 2)
    expect(taken.map(({ kind, windows }) => [kind, numbers(windows)])).toEqual([
      ['kind 0', [0, 5]],
      ['kind 1', [1000, 1002]],
    ])
    expect(rest.map(({ windows }) => numbers(windows))).toEqual([
      [1, 2, 3, 4, 6, 7, 8, 9],
      [1001, 1003],
    ])
  })

  test('has every window in one of its parts', () => {
    fc.assert(
      fc.property(counts, fc.integer({ min: 0, max: 70 }), (sizes, count) => {
        const all = text(...sizes)
        const { taken, rest } = splitKinds(all, count)
        expect(taken).toEqual(ofEachKind(all, count))
        for (const [k, { windows }] of all.entries()) {
          expect(taken[k].windows).toHaveLength(Math.min(count, windows.length))
          const both = [...numbers(taken[k].windows), ...numbers(rest[k].windows)]
          expect(both.toSorted((a, b) => a - b)).toEqual(numbers(windows))
        }
      }),
      { seed: 1 },
    )
  })
})

describe('in turns', () => {
  test('windows of one kind follow those of another, as long as there are any', () => {
    expect(numbers(inTurns(text(2, 4, 1), 100))).toEqual([0, 1000, 2000, 1, 1001, 1002, 1003])
    expect(numbers(inTurns(text(4, 4), 4))).toEqual([0, 1000, 2, 1002])
    expect(inTurns(text(3, 3), 0)).toEqual([])
    expect(inTurns([], 5)).toEqual([])
  })

  test('there are as many as are wanted or there are, none twice, and of each kind as many as it can be', () => {
    fc.assert(
      fc.property(counts, fc.integer({ min: 0, max: 400 }), (sizes, count) => {
        const found = numbers(inTurns(text(...sizes), count))
        const there = sizes.reduce((a, b) => a + b)
        expect(found).toHaveLength(Math.min(count, there))
        expect(new Set(found).size).toBe(found.length)
        const taken = sizes.map((_, k) => found.filter((n) => Math.floor(n / 1000) === k).length)
        const most = Math.max(...taken)
        for (const [k, size] of sizes.entries())
          expect(taken[k]).toBeGreaterThanOrEqual(Math.min(size, most - 1))
      }),
      { seed: 1 },
    )
  })
})
