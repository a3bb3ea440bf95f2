/**
 * Default memory limit of a command. It decides what is trained, so it must be the same each time: a share of the machine's
 * memory, not of the memory that is free.
 */
import { totalmem } from 'node:os'

/** The rest is for the system and other processes. */
const share = 0.75

/**
 * Three quarters of the machine's memory, or of the container's limit if that is smaller, in bytes. The size is first rounded
 * down to an eighth of the power of two below it: machines sold with the same memory report slightly less, depending on
 * firmware and system, and count as 15 GiB of 16, 30 of 32.
 */
export function memoryBudget(machine = totalmem(), limit = process.constrainedMemory()): number {
  const bytes = constrained(machine, limit)
  const step = 2 ** (Math.floor(Math.log2(bytes)) - 3)
  return share * Math.floor(bytes / step) * step
}

const constrained = (machine: number, limit: number): number =>
  limit > 0 ? Math.min(machine, limit) : machine

/** The figures that `memoryBudget` follows from; `limit` is a container's, if it is below the machine's memory. */
export function memoryLimits(
  machine = totalmem(),
  limit = process.constrainedMemory(),
): { readonly budget: number; readonly machine: number; readonly limit?: number } {
  const least = constrained(machine, limit)
  return { budget: memoryBudget(machine, limit), machine, ...(least < machine && { limit: least }) }
}

/** Bytes that this process can use now: its own, and free memory. */
export const reachableMemory = (): number => process.availableMemory() + process.memoryUsage.rss()
