/**
 * How busy work keeps the event loop: the share of its time in which the loop was not waiting, 1 for work that blocks it. On a busy
 * machine the other parts of a thread take longer, and waiting does not, so little below 1 says that the loop was free.
 */
import { performance } from 'node:perf_hooks'

export async function loopShare(work: () => Promise<unknown>): Promise<number> {
  const before = performance.eventLoopUtilization()
  await work()
  return performance.eventLoopUtilization(before).utilization
}
