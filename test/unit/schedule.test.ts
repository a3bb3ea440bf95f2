/** The learning-rate schedule. */
import fc from 'fast-check'
import { describe, expect, it, test } from 'vitest'
import {
  expectedSteps,
  isTimed,
  isValidationStep,
  planSteps,
  rateAt,
  warmupOf,
} from '../../src/optimizer/schedule.js'

test('rises in a line, then falls along half a cosine to the floor', () => {
  const schedule = { steps: 110, warmup: 10, floor: 0.02 }
  expect(rateAt(schedule, 1)).toBeCloseTo(0.1, 12)
  expect(rateAt(schedule, 5)).toBeCloseTo(0.5, 12)
  expect(rateAt(schedule, 10)).toBe(1)
  expect(rateAt(schedule, 60)).toBeCloseTo(0.51, 12)
  expect(rateAt(schedule, 110)).toBeCloseTo(0.02, 12)
  expect(rateAt(schedule, 500)).toBeCloseTo(0.02, 12)
})

test('without warm-up starts near the top', () => {
  expect(rateAt({ steps: 100, warmup: 0, floor: 0 }, 1)).toBeCloseTo(1, 3)
  expect(rateAt({ steps: 1, warmup: 0, floor: 0.1 }, 1)).toBeCloseTo(0.1, 12)
})

test('is a share of the highest rate, with one peak', () => {
  const schedules = fc.record({
    steps: fc.integer({ min: 1, max: 300 }),
    warmup: fc.integer({ min: 0, max: 300 }),
    floor: fc.double({ min: 0, max: 1, noNaN: true }),
  })
  const property = fc.property(schedules, (schedule) => {
    const rates = Array.from({ length: schedule.steps }, (_, i) => rateAt(schedule, i + 1))
    for (const [i, rate] of rates.entries()) {
      expect(rate).toBeGreaterThan(0 - 1e-12)
      expect(rate).toBeLessThanOrEqual(1 + 1e-12)
      if (i === 0) continue
      if (i + 1 <= schedule.warmup) expect(rate).toBeGreaterThan(rates[i - 1])
      else expect(rate).toBeLessThanOrEqual(rates[i - 1] + 1e-12)
    }
  })
  fc.assert(property, { seed: 1 })
})

describe('planning', () => {
  it('warms up for ten steps, or a quarter of a short run', () => {
    expect([undefined, 100, 20, 2].map(warmupOf)).toEqual([10, 10, 5, 1])
  })

  it('fills the time, leaving out the step that compiled', () => {
    const clock = { step: 4, elapsed: 10, validating: 0 }
    expect(planSteps(100, clock, [7, 1, 1, 1])).toBe(94)
    expect(planSteps(5, clock, [7, 1, 1, 1])).toBe(4)
    expect(planSteps(100, { ...clock, validating: 5 }, [7, 1, 1, 1])).toBe(74)
  })

  it('reports more steps than are done as long as their number is not planned', () => {
    const clock = { step: 1, elapsed: 10, validating: 0 }
    expect(expectedSteps(100, clock, [9])).toBe(11)
    expect(expectedSteps(5, clock, [9])).toBe(2)
    expect(expectedSteps(undefined, clock, [9])).toBe(2)
  })

  it('times a tenth of what is left for steps, and four of them at least', () => {
    const clock = { step: 4, elapsed: 25, validating: 0 }
    expect(isTimed(120, clock, [2, 1, 1, 1])).toBe(false)
    expect(isTimed(120, { ...clock, elapsed: 30 }, [2, 1, 1, 1, 1, 1, 1, 1, 1])).toBe(true)
    expect(isTimed(30, clock, [2, 1, 1])).toBe(false)
    expect(isTimed(30, clock, [2, 1, 1, 1])).toBe(true)
  })

  it('validates four times, the last step included', () => {
    const at = (steps: number) =>
      Array.from({ length: steps }, (_, i) => i + 1).filter((s) => isValidationStep(s, steps))
    expect(at(100)).toEqual([25, 50, 75, 100])
    expect(at(3)).toEqual([1, 2, 3])
    expect(isValidationStep(5, undefined)).toBe(false)
  })
})
