/** Work that is done in order, one piece after another. Its first error is reported to whoever waits for a result. */
export class Queue {
  private last: Promise<unknown> = Promise.resolve()
  private failed: { readonly error: unknown } | undefined

  /** Adds work whose result nobody waits for. */
  add(work: () => unknown): void {
    this.last = this.last.then(async () => {
      if (this.failed) return
      try {
        await work()
      } catch (error) {
        this.failed = { error }
      }
    })
  }

  /** Adds work and waits for it. @throws its error, or that of work before it */
  wait<T>(work: () => Promise<T>): Promise<T> {
    const result = this.last.then(() => {
      if (this.failed) throw this.failed.error
      return work()
    })
    this.last = result.catch(() => {})
    return result
  }
}
