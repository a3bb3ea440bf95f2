/** Work on several files of which some are bad: the others are still processed. */
import { FileError, QuenchError } from './errors.js'

/** A file that could not be used, and why. */
export interface Failure {
  readonly path: string
  readonly problem: string
}

/**
 * Runs work on files; if one turns out to be bad, it is dropped and the work runs again without it.
 * @throws QuenchError if none is left, and any error that is not due to one of the files
 */
export async function withoutBad<T>(
  files: readonly string[],
  work: (files: string[]) => Promise<T>,
): Promise<{ result: T; failures: Failure[] }> {
  let left = [...files]
  const failures: Failure[] = []
  for (;;) {
    try {
      return { result: await work(left), failures }
    } catch (error) {
      if (!(error instanceof FileError) || !left.includes(error.path)) throw error
      left = left.filter((path) => path !== error.path)
      failures.push({ path: error.path, problem: error.message })
      if (left.length > 0) continue
      throw failures.length === 1 ? error : new QuenchError(failures.map(({ problem }) => problem).join('; '))
    }
  }
}
