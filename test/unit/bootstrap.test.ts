/** Intervals from few windows of text: finite, around the estimate, and not below zero where no window is. */
import { describe, expect, test } from 'vitest'
import { Bootstrap } from '../../src/compare/bootstrap.js'
import { Random } from '../../src/random.js'

describe.each([2, 3, 4, 5, 6, 8])('%i windows', (windows) => {
  const tokens = Array.from({ length: windows }, () => 255)
  const random = new Random(windows)
  const sums = tokens.map((count) => count * 0.004 * (0.2 + 2 * random.uniform()))
  const mean = sums.reduce((a, b) => a + b, 0) / (255 * windows)
  const bootstrap = new Bootstrap(tokens, { replicates: 999 })

  test('an interval of a loss is finite, holds the mean, and is at least zero', () => {
    const [low, high] = bootstrap.meanInterval(sums)
    expect(low).toBeGreaterThanOrEqual(0)
    expect(low).toBeLessThan(mean)
    expect(high).toBeGreaterThan(mean)
    // Two windows say little, but not nothing.
    expect(high).toBeLessThan(20 * mean)
  })

  test('an interval of differences may hold zero', () => {
    const [low, high] = bootstrap.meanInterval(sums.map((sum) => sum - 255 * mean))
    expect(low).toBeLessThan(0)
    expect(high).toBeGreaterThan(0)
    expect([low, high].every(Number.isFinite)).toBe(true)
  })
})
