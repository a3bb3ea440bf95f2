/**
 * Runs windows through several models, interleaved: each batch is decoded by one model after another, and while one decodes,
 * the previous one's logits are scored on worker threads. Logits live only until every file has been compared with them, so
 * nothing is written to disk (llama-perplexity writes 16-bit logits, tens of gigabytes).
 */
import { FileError } from '../errors.js'
import type { LlamaContext } from '../llama/index.js'
import type { ProgressEvent } from '../notices.js'
import { type Batch, batches } from './batches.js'
import { Score, scoreFields } from './divergence.js'
import { DivergenceStatistics, Likelihood } from './divergence-statistics.js'
import { explained, NotFiniteError } from './not-finite.js'
import type { RowWriter, SavedReference } from './references/index.js'
import { BaseScore, baseFields } from './score-bases.js'
import { type Scored, ScorePool } from './score-pool.js'
import type { Window, Windows } from './windows.js'

/** Limit of logits per model, in bytes. */
const maxLogitBytes = 2 ** 26
const overlapCount = 10

export interface RunOptions {
  /** Models that run as bases: the reference first, then the original if there is one. Or a saved reference. */
  readonly bases: readonly LlamaContext[] | SavedReference
  readonly files: readonly LlamaContext[]
  readonly windows: Windows
  /** Length of a token's text in bytes. */
  readonly bytesOf: (token: number) => number
  readonly threads?: number
  /** Receives the rows of a reference to be saved. */
  readonly save?: RowWriter
  readonly onProgress?: (event: ProgressEvent) => void
  readonly signal?: AbortSignal
}

/** The statistics of every base and file, and of every file against every base. */
export interface RunResult {
  readonly bases: readonly Likelihood[]
  readonly files: readonly { readonly own: Likelihood; readonly against: readonly DivergenceStatistics[] }[]
  /** The reference against the original. */
  readonly referenceAgainst: DivergenceStatistics | undefined
}

export async function run(options: RunOptions): Promise<RunResult> {
  const runner = new Runner(options)
  try {
    await runner.run()
    return runner.result()
  } catch (error) {
    throw await explained(error)
  } finally {
    await runner.close()
  }
}

class Runner {
  private readonly live: readonly LlamaContext[]
  private readonly saved: SavedReference | undefined
  private readonly pool: ScorePool
  private readonly rows: number
  private readonly bases: Likelihood[]
  private readonly files: { own: Likelihood; against: DivergenceStatistics[] }[]
  private readonly referenceAgainst: DivergenceStatistics | undefined
  private done = 0
  private serial = 0

  constructor(private readonly options: RunOptions) {
    const { bases, files, windows, save, threads } = options
    this.live = 'readRows' in bases ? [] : bases
    this.saved = 'readRows' in bases ? bases : undefined
    const { model, sequences } = files[0] ?? this.live[0]
    const size = model.vocabSize
    const fits = Math.floor(maxLogitBytes / (4 * size))
    this.rows = Math.min(Math.max(sequences, fits), sequences * windows.mostScored)
    const topCount = Math.min(overlapCount, this.saved?.layout.top ?? size)
    const likelihood = (): Likelihood => new Likelihood(windows.count)
    const statistics = (own: Likelihood, base: Likelihood) =>
      new DivergenceStatistics(own, base, windows.documents, topCount)
    this.bases = (this.saved ? [0] : this.live).map(likelihood)
    this.files = files.map(() => {
      const own = likelihood()
      return { own, against: this.bases.map((base) => statistics(own, base)) }
    })
    if (this.bases.length === 2) this.referenceAgainst = statistics(this.bases[0], this.bases[1])
    this.pool = new ScorePool({
      size,
      rows: this.rows,
      topCount,
      bases: this.saved ? this.saved.layout : this.live.length,
      ...(save && { save: save.layout }),
      ...(threads !== undefined && { threads }),
    })
  }

  async run(): Promise<void> {
    const { windows, files } = this.options
    const contexts = [...this.live, ...files]
    const { sequences, batchSize } = contexts[0]
    let previous: Promise<unknown> = Promise.resolve()
    for (let w = 0; w < windows.count; w += sequences) {
      const group: Window[] = []
      for (let i = w; i < Math.min(w + sequences, windows.count); i++) group.push(windows.at(i))
      for (const context of contexts) context.clear()
      for (const batch of batches(group, batchSize, this.rows)) {
        const scored = await this.runBatch(batch, w)
        await previous
        previous = scored()
        previous.catch(() => {}) // handled when it is awaited
      }
    }
    await previous
  }

  /** Decodes a batch with every model. Returns a function that waits for the scores and adds them up. */
  private async runBatch(batch: Batch, w: number): Promise<() => Promise<void>> {
    const { files } = this.options
    const { targets } = batch
    const rows = targets.length
    const { serial } = this
    this.serial += rows
    const baseScores: Scored[] = []
    if (this.saved && rows > 0)
      baseScores.push(await this.pool.setSavedRows(await this.saved.readRows(serial, rows), targets, serial))
    // The original comes first, since the reference is compared with it.
    const order = this.live.map((_, b) => b).reverse()
    for (const b of order) {
      const logits = await this.decode(this.live[b], batch)
      if (logits) baseScores[b] = await this.pool.setBase(b, logits, targets, serial)
    }
    const between = this.referenceAgainst && rows > 0 ? this.pool.scoreBase(0, targets, [1]) : undefined
    if (this.options.save && rows > 0) {
      await baseScores[0].scores
      await this.options.save.write(this.pool.savedRows(rows))
    }
    const against = this.bases.map((_, b) => b)
    const fileScores: Scored[] = []
    for (const context of files) {
      const logits = await this.decode(context, batch)
      if (logits) fileScores.push(await this.pool.score(logits, targets, against))
    }
    return async () => {
      if (rows === 0) return
      const bases = await Promise.all(baseScores.map(async ({ scores }) => (await scores)[0]))
      this.addBases(batch, w, bases)
      if (between)
        this.addFile(batch, w, bases.slice(1), await between.scores, [
          this.referenceAgainst as DivergenceStatistics,
        ])
      for (const [f, { scores }] of fileScores.entries()) {
        const own = await scores
        this.addOwn(batch, w, own[0], this.files[f].own, scoreFields, files[f].model.path)
        this.addFile(batch, w, bases, own, this.files[f].against)
      }
    }
  }

  /** The rows of logits, if the batch has any. */
  private async decode(context: LlamaContext, batch: Batch): Promise<Float32Array | undefined> {
    const { signal, onProgress, windows, files } = this.options
    signal?.throwIfAborted()
    await context.decode(batch.tokens, batch)
    this.done += batch.tokens.length
    onProgress?.({
      stage: 'evaluate',
      done: this.done,
      total: windows.run * (this.live.length + files.length),
    })
    return batch.targets.length > 0 ? context.logits() : undefined
  }

  private addBases(batch: Batch, w: number, scores: readonly Float64Array[]): void {
    for (const [b, likelihood] of this.bases.entries()) {
      const path = this.saved?.path ?? this.live[b].model.path
      this.addOwn(batch, w, scores[b], likelihood, baseFields, path)
    }
  }

  /** Adds a model's own scores of the target tokens; `nll` is the first number of both kinds of rows. */
  private addOwn(
    batch: Batch,
    w: number,
    scores: Float64Array,
    to: Likelihood,
    fields: number,
    path: string,
  ): void {
    for (const [r, target] of batch.targets.entries()) {
      const nll = scores[r * fields + BaseScore.nll]
      const kld = fields === scoreFields ? scores[r * fields + Score.kld] : 0
      if (!Number.isFinite(nll) || !Number.isFinite(kld))
        throw path === this.saved?.path
          ? new FileError(
              path,
              'it is damaged: a prediction in it is none that can have been saved; save it again',
            )
          : new NotFiniteError(path)
      to.add(w + batch.rowWindows[r], nll, this.options.bytesOf(target))
    }
  }

  private addFile(
    batch: Batch,
    w: number,
    bases: readonly Float64Array[],
    scores: readonly Float64Array[],
    statistics: readonly DivergenceStatistics[],
  ): void {
    for (const [b, each] of statistics.entries())
      for (let r = 0; r < batch.targets.length; r++) {
        const window = w + batch.rowWindows[r]
        each.add(window, batch.documents[r], scores[b], r * scoreFields, bases[b], r * baseFields)
      }
  }

  result(): RunResult {
    return { bases: this.bases, files: this.files, referenceAgainst: this.referenceAgainst }
  }

  close(): Promise<void> {
    return this.pool.close()
  }
}
