/** Times pieces of work that is repeated in a run, as long as a machine or device is fast enough for repetitions. */

/** Seconds of repetitions after which none begins. A run that takes as long as this is timed once. */
export const enough = 2

/** Seconds of repetitions, and their number, that many short runs are timed for. */
const short = { seconds: 0.05, runs: 25 }

/** Batches after which a run need not be timed again. */
const manyBatches = 16

/** @returns the seconds that the work takes, without those that `uncounted` says it has spent otherwise */
export async function timed(work: () => Promise<unknown>, uncounted = () => 0): Promise<number> {
  const before = uncounted()
  const began = performance.now()
  await work()
  return (performance.now() - began) / 1000 - (uncounted() - before)
}

/**
 * Median seconds of at least three runs that take a twentieth of a second, or of 25, after a run that compiles and warms up. Runs of many
 * batches are timed less often, and long ones once.
 * @param batches of a run
 */
export async function median(work: () => Promise<unknown>, batches = 1): Promise<number> {
  await work()
  const times: number[] = []
  let total = 0
  const few = (): boolean => times.length < 3 && times.length * batches < manyBatches
  const brief = (): boolean => total < short.seconds && times.length < short.runs
  do {
    times.push(await timed(work))
    total += times.at(-1) as number
  } while (total < enough && (few() || brief()))
  times.sort((a, b) => a - b)
  return times[times.length >> 1]
}
