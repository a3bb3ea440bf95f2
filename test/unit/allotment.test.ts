/** A run that is given a time writes and solves with less, and leaves time to train in. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Adjustable, budgetTime } from '../../src/plan/time-budget.js'

const both = new Set<Adjustable>(['tokens', 'calibration'])
const wanted = {
  text: 131_072,
  calibration: 49_152,
  batch: 512,
  writing: { tokens: 65_536, text: 262_144, copy: 1e9 },
  adjustable: both,
}
const rates = { writing: 400, solving: (tokens: number) => 60 + tokens / 100 }

describe('the time of a run', () => {
  it('takes what was wanted where there is no end to it', () => {
    const all = budgetTime({ ...wanted, seconds: undefined }, rates)
    expect(all).toMatchObject({ tokens: 131_072, calibration: 49_152, left: undefined })
    expect(all.writing).toEqual({ ...wanted.writing, seconds: 65_536 / 400 })
    expect(all.solving).toBe(60 + 491.52)
  })

  it('shares an hour: everything that is wanted fits', () => {
    const { tokens, calibration, left = 0 } = budgetTime({ ...wanted, seconds: 3600 }, rates)
    expect([tokens, calibration]).toEqual([131_072, 49_152])
    expect(left).toBeCloseTo(3600 - 65_536 / 400 - 551.52, 6)
  })

  it('writes and solves less in ten minutes, but not where that was asked for', () => {
    const { tokens, calibration, writing } = budgetTime({ ...wanted, seconds: 600 }, rates)
    expect(tokens).toBe(94 * 512) // the next whole batch after 0.1 * 600 * 400 tokens, of which there are two for each that is written
    expect(writing).toMatchObject({ tokens: tokens / 2, copy: 1e9 })
    expect(writing.text).toBe(2 * tokens)
    expect(calibration).toBeLessThan(tokens)
    const asked = budgetTime({ ...wanted, seconds: 600, adjustable: new Set() }, rates)
    expect([asked.tokens, asked.calibration]).toEqual([131_072, 49_152])
    expect(asked.left).toBe(0)
  })

  it('writes no text that is solved from by nobody where no steps follow, unless that was asked for', () => {
    const alone = { ...wanted, trains: false }
    for (const seconds of [undefined, 1e6]) {
      const { tokens, calibration, writing } = budgetTime({ ...alone, seconds }, rates)
      expect([tokens, calibration, writing.tokens]).toEqual([49_152, 49_152, 24_576])
    }
    const asked = budgetTime({ ...alone, seconds: 1e6, adjustable: new Set() }, rates)
    expect([asked.tokens, asked.writing.tokens]).toEqual([131_072, 65_536])
    // And nearly all of what writing leaves is there to solve in.
    const { calibration, solving, writing } = budgetTime({ ...alone, seconds: 400 }, rates)
    expect(calibration).toBeLessThan(49_152)
    const left = 400 - writing.seconds
    expect(solving).toBeGreaterThanOrEqual(0.95 * left)
    expect(solving).toBeLessThanOrEqual(0.95 * left + 512 / 100)
  })

  it('keeps to its shares of any time down to the least that is worth anything', () => {
    const property = fc.property(
      fc.double({ min: 1, max: 1e5, noNaN: true }),
      fc.double({ min: 1, max: 1e4, noNaN: true }),
      fc.double({ min: 1e-6, max: 0.1, noNaN: true }),
      (seconds, speed, each) => {
        const given = { writing: speed, solving: (tokens: number) => 1 + tokens * each }
        const { tokens, calibration, writing, solving, left = 0 } = budgetTime({ ...wanted, seconds }, given)
        expect([tokens % 512, calibration % 512]).toEqual([0, 0])
        expect(tokens).toBeGreaterThanOrEqual(16_384)
        expect(calibration).toBeGreaterThanOrEqual(8192)
        expect(calibration).toBeLessThanOrEqual(tokens)
        if (tokens > 16_384) expect(writing.seconds).toBeLessThanOrEqual(0.1 * seconds + 512 / speed)
        if (calibration > 8192)
          expect(solving).toBeLessThanOrEqual(0.85 * (seconds - writing.seconds) + 512 * each)
        expect(left).toBeGreaterThanOrEqual(0)
      },
    )
    fc.assert(property, { seed: 1 })
  })

  it('of text that is read, only the start takes less', () => {
    const { writing, ...read } = wanted
    expect(writing.tokens).toBeGreaterThan(0)
    const { tokens, writing: none } = budgetTime({ ...read, seconds: 100 }, rates)
    expect([tokens, none]).toEqual([131_072, { tokens: 0, text: 0, copy: 0, seconds: 0 }])
  })
})
