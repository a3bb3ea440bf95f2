/**
 * How many threads compute a batch. ggml's threads wait for each other after every operation by spinning, so beside other work, where one
 * of them often has no core, two threads can be ten times as slow as one. Every batch is timed. Where threads have to wait for cores, a batch
 * or two are computed with half of them now and then, and where there are fewer than all, with twice as many; the faster number is kept. What is computed must not depend on it: the only operation whose sums are
 * divided among threads is flash attention to many cells of the cache, where a micro-batch is a single token (`isDivided`).
 */

import { idleCores, waitedForCores } from '../threads.js'

/** A number of threads takes over if it needs less than this share of the time. */
const faster = 0.9
/** Batches before the first trial, and between trials where none was faster. */
const intervals = { first: 2, watching: 16, longest: 256 }
/** Share of the time that a thread waits for a core, below which fewer threads are not tried. */
const waiting = 0.05
/** The threads of a batch may still have to wake up, so the faster of two counts, unless the first is as slow as this. */
const trials = 2
const hopeless = 1.5
/** Contexts of so many tokens are never divided: llama.cpp divides 512 cells and more, and rounds them up to 256. */
export const undividedCells = 256

interface Trial {
  readonly threads: number
  batches: number
  /** Milliseconds for a token. */
  least: number
}

export class ThreadPace {
  /** Batches that were computed since the last trial, and the mean milliseconds for a token of the last ones. */
  #batches = 0
  #mean = 0
  #interval = intervals.first
  #trial: Trial | undefined
  #upwards = false
  #kept: number
  #follows = false
  #last: { readonly time: number; readonly waited: number | undefined }

  /**
   * @param most threads to use
   * @param microBatch tokens of a micro-batch where attention may be divided; undefined if it never is
   * @param begin how many to begin with
   * @param waited milliseconds that threads of this process have waited for cores so far
   */
  constructor(
    private readonly most: number,
    private readonly microBatch: number | undefined,
    begin = idleCores(),
    private readonly waited: () => number | undefined = waitedForCores,
  ) {
    this.#kept = Math.max(1, Math.min(most, begin))
    this.#last = { time: performance.now(), waited: waited() }
  }

  /** Threads for the next batch. @param sequenceIds of its tokens; undefined: all of one sequence */
  threads(sequenceIds: ArrayLike<number> | undefined, tokens: number): number {
    this.#follows = this.microBatch === undefined || !isDivided(sequenceIds, tokens, this.microBatch)
    return this.#follows ? (this.#trial?.threads ?? this.#kept) : this.most
  }

  /** Tells what that batch took. */
  took(ms: number, tokens: number): void {
    if (!this.#follows) return
    const each = ms / tokens
    if (this.#trial) this.#tried(this.#trial, each)
    else {
      this.#batches++
      this.#mean += (each - this.#mean) / Math.min(this.#batches, 8)
      if (this.#batches >= this.#interval) this.#begin()
    }
  }

  #begin(): void {
    const fewer = this.#mustWait() ? Math.ceil(this.#kept / 2) : this.#kept
    const choices = [fewer, Math.min(2 * this.#kept, this.most)].filter((threads) => threads !== this.#kept)
    this.#batches = 0
    if (choices.length === 0) {
      this.#interval = Math.min(2 * this.#interval, intervals.watching)
      return
    }
    this.#upwards = !this.#upwards
    const threads = choices[choices.length === 2 && this.#upwards ? 1 : 0]
    this.#trial = { threads, batches: 0, least: Number.POSITIVE_INFINITY }
  }

  /** Whether threads have had to wait for cores since the last time; unknown counts as yes. */
  #mustWait(): boolean {
    const { time, waited } = this.#last
    this.#last = { time: performance.now(), waited: this.waited() }
    if (waited === undefined || this.#last.waited === undefined) return true
    return this.#last.waited - waited > waiting * this.#kept * (this.#last.time - time)
  }

  #tried(trial: Trial, each: number): void {
    trial.least = Math.min(trial.least, each)
    if (++trial.batches < trials && trial.least < hopeless * this.#mean) return
    const better = trial.least < faster * this.#mean
    if (better) this.#kept = trial.threads
    // A number that is far slower is tried again later.
    const longer = Math.min(8, Math.max(2, trial.least / this.#mean))
    this.#interval = better ? intervals.first : Math.min(longer * this.#interval, intervals.longest)
    this.#mean = 0
    this.#trial = undefined
  }
}

/**
 * Whether a micro-batch may be a single token. llama.cpp takes as many tokens of each sequence as all of them have left, so one is alone if
 * a sequence has more than the others, or if the only sequence has one more than fills micro-batches.
 */
function isDivided(sequenceIds: ArrayLike<number> | undefined, tokens: number, microBatch: number): boolean {
  const counts = new Map<number, number>()
  for (let i = 0; i < tokens; i++) {
    const id = sequenceIds ? sequenceIds[i] : 0
    counts.set(id, (counts.get(id) ?? 0) + 1)
  }
  return counts.size === 1 ? tokens % microBatch === 1 : new Set(counts.values()).size > 1
}
