/**
 * Clean-up that runs to its end: everything that was opened is given back in reverse order, also when giving back a part of it
 * fails, and what failed first is the error that is told. (`await using` would tell the last one, and Node 20 has no
 * `AsyncDisposableStack`.)
 */

/** Gives something back. */
export type Release = () => unknown

/** Runs `work`; what it hands to `defer` is called when it has ended, the last first. @throws the first error of them all */
export async function withCleanup<T>(work: (defer: (release: Release) => void) => Promise<T>): Promise<T> {
  const releases: Release[] = []
  try {
    const result = await work((release) => releases.unshift(release))
    await releaseAll(releases.splice(0))
    return result
  } catch (error) {
    await releaseAll(releases).catch(() => {}) // the first error is told
    throw error
  }
}

/** Calls all of them, one after another. @throws the first error, after the last call */
export async function releaseAll(releases: Iterable<Release>): Promise<void> {
  const errors: unknown[] = []
  for (const release of releases) {
    try {
      await release()
    } catch (error) {
      errors.push(error)
    }
  }
  if (errors.length > 0) throw errors[0]
}
