/**
 * Clean-up that always completes: everything that was opened is released in reverse order, even if releasing a part of it
 * fails, and the first error is thrown. (`await using` would throw the last one, and Node 20 has no `AsyncDisposableStack`.)
 */

/** Releases something. */
export type Release = () => unknown

/**
 * Runs `work`; the functions that it passes to `defer` are called when it has ended, the last first. @throws the first error
 * of all
 */
export async function withCleanup<T>(work: (defer: (release: Release) => void) => Promise<T>): Promise<T> {
  const releases: Release[] = []
  try {
    const result = await work((release) => releases.unshift(release))
    await releaseAll(releases.splice(0))
    return result
  } catch (error) {
    await releaseAll(releases).catch(() => {}) // the first error is thrown
    throw error
  }
}

/** Calls all functions, one after another. @throws the first error, after the last call */
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
