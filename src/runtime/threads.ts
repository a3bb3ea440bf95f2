/** How many threads native code may use. */
import { availableParallelism } from 'node:os'
import { UsageError } from '../errors.js'

/**
 * `QUENCH_THREADS` if it is set, else the processors that this process may run on.
 * The split of a matrix product, and so the last bit of a result, depends on it.
 * @throws UsageError if the variable is not a whole number from 1 to 1024
 */
export function threadCount(): number {
  const wanted = process.env.QUENCH_THREADS
  if (wanted === undefined || wanted === '') return availableParallelism()
  const threads = Number(wanted)
  if (!Number.isInteger(threads) || threads < 1 || threads > 1024)
    throw new UsageError(`QUENCH_THREADS is "${wanted}"; set it to a whole number from 1 to 1024`)
  return threads
}
