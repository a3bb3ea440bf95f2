import { describe, expect, it } from 'vitest'
import { rowSeconds } from '../../src/plan/probe-rounding.js'

describe('time of rounding a matrix, from some of its rows', () => {
  it('has a part that does not grow with the rows', async () => {
    const seconds = (rows: number) => 0.5 + 0.001 * rows
    const asked: number[] = []
    const estimate = await rowSeconds(
      async (rows) => {
        asked.push(rows)
        return seconds(rows)
      },
      4864,
      2,
    )
    expect(estimate(4864)).toBeCloseTo(seconds(4864), 9)
    expect(estimate(256)).toBeCloseTo(seconds(256), 9)
    expect(Math.max(...asked)).toBe(256)
  })

  it('takes as many rows as all threads have shares', async () => {
    // 64 rows or fewer in a share take the time of 64.
    const seconds = (rows: number) => Math.ceil(Math.max(rows / 16, 64) / 64) * 0.3
    const estimate = await rowSeconds(async (rows) => seconds(rows), 16_384, 16)
    expect(estimate(16_384)).toBeCloseTo(seconds(16_384), 9)
  })

  it('is that of the whole of a small matrix', async () => {
    const estimate = await rowSeconds(async (rows) => (rows === 100 ? 0.2 : Number.NaN), 100, 2)
    expect(estimate(100)).toBe(0.2)
  })

  it('grows with the rows although other work has lengthened one of the two', async () => {
    for (const [few, more] of [
      [9, 1],
      [0.1, 1],
    ]) {
      const estimate = await rowSeconds(async (rows) => (rows === 128 ? few : more), 2560, 2)
      expect(estimate(2560)).toBeGreaterThan(3 * more)
      expect(estimate(2560)).toBeLessThanOrEqual(10 * more)
    }
  })
})
