/**
 * How much memory a command may take where nothing else is said. It decides what trains, so it must be the same each time: a share of
 * what the machine has and not of what is free at the moment.
 */
import { totalmem } from 'node:os'

/** The rest is for the system and for others. */
const share = 0.75

/**
 * Three quarters of the machine's memory, or of the container's limit where that is smaller, in bytes. The size is rounded down to an
 * eighth of the power of two below it first: machines that are sold with the same memory report a little less, by firmware and
 * system, and count as 15 GiB of 16, 30 of 32.
 */
export function memoryBudget(machine = totalmem(), limit = process.constrainedMemory()): number {
  const bytes = constrained(machine, limit)
  const step = 2 ** (Math.floor(Math.log2(bytes)) - 3)
  return share * Math.floor(bytes / step) * step
}

const constrained = (machine: number, limit: number): number =>
  limit > 0 ? Math.min(machine, limit) : machine

/** What `memoryBudget` follows from; `limit` is a container's where it is below the machine's memory. */
export function memoryLimits(
  machine = totalmem(),
  limit = process.constrainedMemory(),
): { readonly budget: number; readonly machine: number; readonly limit?: number } {
  const least = constrained(machine, limit)
  return { budget: memoryBudget(machine, limit), machine, ...(least < machine && { limit: least }) }
}

/** Bytes that this process can have now: its own, and what is free. */
export const reachableMemory = (): number => process.availableMemory() + process.memoryUsage.rss()
