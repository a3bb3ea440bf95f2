/** Cutting documents into windows. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { cutWindows } from '../../src/data/windows.js'

const BOS = 99
const withBos = { bos: BOS, addBos: true }
const cut = (documents: number[][], length: number, facts = withBos): number[][] =>
  cutWindows(
    documents.map((d) => Int32Array.from(d)),
    length,
    facts,
  ).map((w) => [...w])

describe('windows', () => {
  test('start with BOS where the model wants one, and have it between documents', () => {
    expect(cut([[1, 2, 3, 4, 5, 6, 7]], 4)).toEqual([
      [BOS, 1, 2, 3],
      [BOS, 4, 5, 6],
    ])
    expect(
      cut(
        [
          [1, 2],
          [3, 4, 5],
        ],
        4,
      ),
    ).toEqual([
      [BOS, 1, 2, BOS],
      [BOS, 3, 4, 5],
    ])
  })

  test('have no BOS where the model wants none', () => {
    const windows = [
      [1, 2, 3],
      [4, 5, 6],
    ]
    expect(
      cut(
        [
          [1, 2],
          [3, 4, 5, 6, 7],
        ],
        3,
        { bos: BOS, addBos: false },
      ),
    ).toEqual(windows)
    expect(cutWindows([Int32Array.of(1, 2, 3, 4, 5, 6)], 3, { bos: undefined, addBos: true })).toHaveLength(2)
  })

  test('of too little text are none', () => {
    expect(cut([], 4)).toEqual([])
    expect(cut([[]], 4)).toEqual([])
    expect(cut([[1, 2]], 4)).toEqual([])
    expect(cut([[1, 2, 3]], 4)).toEqual([[BOS, 1, 2, 3]])
  })

  test('keep every token in its order, but for the end', () => {
    const documents = fc.array(fc.array(fc.integer({ min: 0, max: 98 }), { maxLength: 20 }), { maxLength: 5 })
    const property = fc.property(
      documents,
      fc.integer({ min: 2, max: 9 }),
      fc.boolean(),
      (texts, length, addBos) => {
        const windows = cut(texts, length, { bos: BOS, addBos })
        expect(windows.every((w) => w.length === length)).toBe(true)
        const kept = windows.flat().filter((t) => t !== BOS)
        const all = texts.flat()
        expect(kept).toEqual(all.slice(0, kept.length))
        expect(all.length - kept.length).toBeLessThan(length)
      },
    )
    fc.assert(property, { seed: 1 })
  })

  test('are copies', () => {
    const document = Int32Array.of(1, 2, 3, 4)
    const [window] = cutWindows([document], 2, { bos: BOS, addBos: false })
    document[0] = 50
    expect([...window]).toEqual([1, 2])
  })
})
