/** The budget of memory is a property of the machine, in steps coarse enough that machines of one kind have the same. */
import { describe, expect, it } from 'vitest'
import { memoryBudget } from '../../src/memory.js'

const GiB = 2 ** 30

describe('the budget of memory', () => {
  it('is three quarters of an eighth-stepped size', () => {
    expect(memoryBudget(16 * GiB, 0)).toBe(12 * GiB)
    expect(memoryBudget(23.5 * GiB, 0)).toBe(0.75 * 22 * GiB)
    expect(memoryBudget(1.9 * GiB, 0)).toBe(0.75 * 1.875 * GiB)
  })

  it('is the same for machines that report a little more or less', () => {
    const budgets = [15.0, 15.2, 15.49, 15.62, 15.99].map((size) => memoryBudget(size * GiB, 0))
    expect(new Set(budgets)).toEqual(new Set([0.75 * 15 * GiB]))
  })

  it('keeps to the limit of a container', () => {
    expect(memoryBudget(64 * GiB, 4 * GiB)).toBe(3 * GiB)
    expect(memoryBudget(8 * GiB, 2 ** 64)).toBe(6 * GiB) // no limit, as the kernel says it
    expect(memoryBudget(8 * GiB, 0)).toBe(6 * GiB)
  })

  it('is what it was when it is asked again, whatever is held meanwhile', () => {
    const before = memoryBudget()
    const held = new Uint8Array(200e6).fill(1)
    expect(memoryBudget()).toBe(before)
    expect(held.length).toBe(200e6)
  })
})
