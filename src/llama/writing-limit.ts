/**
 * Keeps the writing of texts within a time. All grow together, so where they cannot all be finished, the last ones are given up early, and the
 * time goes to the others.
 */
import type { Writer } from './writer.js'

/** Batches over which speed is measured, and between decisions. */
const interval = 8
/** So few texts are finished however long it takes. */
const least = 8
/** Share of the texts that stays at a decision: speed may have been low by chance, and fewer texts are faster. */
const staying = 0.75

type Text = Pick<Writer, 'count' | 'tokens'>

export class WritingLimit {
  #batches = 0
  #then: { readonly time: number; readonly tokens: number } | undefined

  /** @param until when they have to be finished, as `performance.now()` */
  constructor(private readonly until: number) {}

  /**
   * How many of the texts to continue with, after a batch.
   * @param texts all that were begun
   * @param active how many of them are still written
   */
  remaining(texts: readonly Text[], active: number, time = performance.now()): number {
    if (this.#batches++ % interval > 0) return active
    const tokens = texts.reduce((sum, { count }) => sum + count, 0)
    const { time: began, tokens: before } = this.#then ?? { time, tokens }
    this.#then = { time, tokens }
    if (tokens <= before || active <= least) return active
    const perSecond = (tokens - before) / (time - began)
    const missing = texts
      .slice(0, active)
      .reduce((sum, { count, tokens: { length } }) => sum + length - count, 0)
    const finished = Math.floor((active * (this.until - time) * perSecond) / Math.max(1, missing))
    return finished >= active ? active : Math.max(least, finished, Math.ceil(staying * active))
  }
}
