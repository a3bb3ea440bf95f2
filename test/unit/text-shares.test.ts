/** What a training text consists of: shares of --data, general text and the model's own, and what makes up for what there is not. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Network } from '../../src/engine/network.js'
import { UsageError } from '../../src/errors.js'
import { textTokens } from '../../src/training-text/run-text.js'
import { countsOf, heldOut, type ReadText, type TextOptions } from '../../src/training-text/text.js'

const length = 32
const windows = (count: number): Int32Array[] =>
  Array.from({ length: count }, (_, i) => new Int32Array(length).fill(i))
/** @param general windows of each of two kinds */
const readOf = (files = 1000, general: readonly [number, number] = [500, 500]): ReadText => ({
  files: windows(files),
  general: general.map((count, k) => ({ kind: `kind ${k}`, windows: windows(count) })),
  importance: ['a', 'b'].map((kind) => ({ kind, windows: windows(8) })),
  trial: ['a', 'b'].map((kind) => ({ kind, windows: windows(4) })),
  validation: ['a', 'b', 'c'].map((kind) => ({ kind, windows: windows(12) })),
})

const options: TextOptions = { data: [], tokens: 100 * length, length, seed: 1, fingerprint: '' }
const some = ['text.txt']
/** Windows of [files, general, self-written]. */
function counted(more: Partial<TextOptions>, read = readOf()): [number, number, number] {
  const { files, general, selfWritten } = countsOf(read, { ...options, ...more })
  return [files, general, selfWritten]
}

describe('shares', () => {
  test.each<[name: string, more: Partial<TextOptions>, counts: [number, number, number]]>([
    ['nothing', {}, [0, 50, 50]],
    ['--self-written .5', { selfWritten: 0.5 }, [0, 50, 50]],
    ['--self-written 0', { selfWritten: 0 }, [0, 100, 0]],
    ['--self-written 1', { selfWritten: 1 }, [0, 0, 100]],
    ['--general .3', { general: 0.3 }, [0, 30, 70]],
    ['--general 1', { general: 1 }, [0, 100, 0]],
    ['--general 0', { general: 0 }, [0, 0, 100]],
    ['--general .3 --self-written .7', { general: 0.3, selfWritten: 0.7 }, [0, 30, 70]],
    ['--data', { data: some }, [50, 50, 0]],
    ['--data --general .2', { data: some, general: 0.2 }, [80, 20, 0]],
    ['--data --general 0', { data: some, general: 0 }, [100, 0, 0]],
    ['--data --self-written .4', { data: some, selfWritten: 0.4 }, [30, 30, 40]],
    ['--data --self-written .4 --general .1', { data: some, selfWritten: 0.4, general: 0.1 }, [50, 10, 40]],
    ['--data --self-written 0 --general .9', { data: some, selfWritten: 0, general: 0.9 }, [10, 90, 0]],
  ])('of %s', (_, more, counts) => {
    expect(counted(more)).toEqual(counts)
  })

  test.each<[name: string, more: Partial<TextOptions>, counts: [number, number, number]]>([
    ['general text takes the place', { mostWritten: 12 }, [0, 88, 12]],
    ['more than is wanted', { mostWritten: 70 }, [0, 50, 50]],
    ['as far as there is more', { mostWritten: 12, tokens: 1990 * length }, [0, 1000, 12]],
    ['no general text is wanted', { mostWritten: 12, selfWritten: 1 }, [0, 0, 12]],
    ['with --data', { mostWritten: 12, data: some, selfWritten: 0.4 }, [30, 58, 12]],
  ])('where the model has not written all: %s', (_, more, counts) => {
    expect(counted(more)).toEqual(counts)
  })

  test('are all of the text, whatever they are, and to a window what was asked for', () => {
    const share = fc.option(fc.integer({ min: 0, max: 40 }), { nil: undefined })
    fc.assert(
      fc.property(fc.boolean(), share, share, fc.integer({ min: 1, max: 400 }), (files, own, common, n) => {
        const selfWritten = own === undefined ? {} : { selfWritten: own / 40 }
        const general = common === undefined ? {} : { general: common / 40 }
        const asked = { data: files ? some : [], tokens: n * length - 7, ...selfWritten, ...general }
        let counts: [number, number, number]
        try {
          counts = counted(asked)
        } catch (error) {
          expect(error).toBeInstanceOf(UsageError)
          return
        }
        expect(counts[0] + counts[1] + counts[2]).toBe(n)
        for (const count of counts) expect(count).toBeGreaterThanOrEqual(0)
        if (own !== undefined) expect(Math.abs(counts[2] - (own / 40) * n)).toBeLessThanOrEqual(0.5)
        if (common !== undefined) expect(Math.abs(counts[1] - (common / 40) * n)).toBeLessThanOrEqual(1)
        if (!files) expect(counts[0]).toBe(0)
      }),
      { seed: 1 },
    )
  })

  test.each<[more: Partial<TextOptions>, problem: RegExp]>([
    [{ selfWritten: 1.5 }, /--self-written 1\.5 is not from 0 to 1/],
    [{ selfWritten: Number.NaN }, /--self-written NaN is not from 0 to 1/],
    [{ general: -0.1 }, /--general -0\.1 is not from 0 to 1/],
    [{ selfWritten: 0.7, general: 0.5 }, /--self-written 0\.7 and --general 0\.5 are more than the whole/],
    [{ data: some, selfWritten: 0.7, general: 0.5 }, /are more than the whole text/],
    [{ selfWritten: 0.25, general: 0.5 }, /need text for the rest; name it with --data/],
    [{ selfWritten: 0, general: 0 }, /need text for the rest; name it with --data/],
    [{ data: some, selfWritten: 1 }, /--self-written 1 .*leave nothing to be read of --data/],
    [{ data: some, general: 1 }, /--general 1 leave nothing to be read of --data/],
    [{ data: some, selfWritten: 0.5, general: 0.5 }, /leave nothing to be read of --data/],
  ])('of %j are refused', (more, problem) => {
    expect(() => counted(more)).toThrow(UsageError)
    expect(() => counted(more)).toThrow(problem)
  })

  test('that sum up to the whole but for rounding leave nothing, and nothing is missing', () => {
    for (let i = 0; i <= 10; i++)
      expect(counted({ selfWritten: i / 10, general: 1 - i / 10 })).toEqual([0, 100 - 10 * i, 10 * i])
    for (let i = 0; i <= 100; i++) {
      const [selfWritten, general] = [i / 100, (100 - i) / 100]
      expect(counted({ selfWritten, general })).toEqual([0, 100 - i, i])
      expect(() => counted({ data: some, selfWritten, general })).toThrow(/leave nothing to be read/)
    }
  })
})

describe('what there is not', () => {
  test('of general text is made up for by the text of the model', () => {
    expect(counted({}, readOf(0, [20, 10]))).toEqual([0, 30, 70])
    expect(counted({ general: 0.6 }, readOf(0, [20, 10]))).toEqual([0, 30, 70])
  })

  test('of it with files is made up for by them, as far as they go', () => {
    expect(counted({ data: some }, readOf(90, [20, 10]))).toEqual([70, 30, 0])
    expect(counted({ data: some }, readOf(60, [20, 10]))).toEqual([60, 30, 0])
    expect(counted({ data: some, selfWritten: 0.1 }, readOf(90, [20, 10]))).toEqual([60, 30, 10])
  })

  test('of it without any other source is missing: nothing is written that was not wanted', () => {
    expect(counted({ selfWritten: 0 }, readOf(0, [20, 10]))).toEqual([0, 30, 0])
  })

  test('of files is not made up for', () => {
    expect(counted({ data: some }, readOf(10))).toEqual([10, 50, 0])
  })
})

describe('tokens of a run', () => {
  const network = { batch: { windows: 4, length } } as Network
  const tokens = (more: Partial<TextOptions>, calibration?: number) =>
    textTokens(readOf(), network, { ...options, ...more }, calibration)

  test('are what the text has, and a start of whole batches from no more than there is', () => {
    expect(tokens({}, 20 * length)).toEqual({
      train: 100 * length,
      importance: 16 * length,
      validation: 36 * length,
      trial: 8 * length,
      calibration: 20 * length,
    })
    expect(tokens({}, 21 * length).calibration).toBe(20 * length)
    expect(tokens({}, 0).calibration).toBe(0)
    expect(tokens({}, 1e9).calibration).toBe(100 * length)
    expect(tokens({ tokens: 10 * length }).calibration).toBe(8 * length)
    expect(tokens({ tokens: 1000 * length }).calibration).toBe(1000 * length)
    expect(tokens({ tokens: 1e6 * length, selfWritten: 1 }).calibration).toBe(49_152)
  })
})

describe("the user's text that is held out", () => {
  test('is a tenth of it at most, from all of it, and nothing of a short one', () => {
    expect(heldOut(windows(19), 12)).toEqual({ held: [], files: windows(19) })
    const { held, files } = heldOut(windows(40), 12)
    expect(held).toEqual([
      { kind: 'your text', apart: true, windows: [0, 10, 20, 30].map((i) => windows(40)[i]) },
    ])
    expect(files).toHaveLength(36)
    expect(heldOut(windows(1000), 12).held[0].windows).toHaveLength(12)
  })

  test('and what is trained on are all of it together', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 1, max: 50 }), (n, most) => {
        const { held, files } = heldOut(windows(n), most)
        const all = [...held.flatMap((kind) => kind.windows), ...files].map(([number]) => number)
        expect(all.toSorted((a, b) => a - b)).toEqual(Array.from({ length: n }, (_, i) => i))
      }),
      { seed: 1 },
    )
  })
})
