/** How busy work keeps the event loop: the share of its time in which the loop was not waiting. It does not depend on what else runs. */
import { performance } from 'node:perf_hooks'

export async function loopShare(work: () => Promise<unknown>): Promise<number> {
  const before = performance.eventLoopUtilization()
  await work()
  return performance.eventLoopUtilization(before).utilization
}
