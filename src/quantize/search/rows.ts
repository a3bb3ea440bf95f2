/** Rows of weights quantized by the reference quantizer and improved by search, on worker threads. */
import { formatOf } from '../../formats/table.js'
import { quantizeRowsAsync, rowSize } from '../../llama/index.js'
import { threadCount } from '../../threads.js'
import { WorkerTeam, workerEntry } from '../../workers.js'

/** Rows for one thread. */
export interface SearchRequest {
  /** ggml_type id. */
  readonly type: number
  readonly weights: Float32Array
  readonly columns: number
  /** By column. */
  readonly importance: Float32Array | undefined
  /** As the reference quantizer stores the weights. */
  readonly bytes: Uint8Array
}

/** Threads that search. */
export class SearchThreads {
  private readonly team = new WorkerTeam<SearchRequest, Uint8Array>(
    workerEntry('./search-worker', import.meta.url),
    'searches for scales',
  )

  constructor(private readonly threads = threadCount()) {}

  /**
   * The bytes of rows of weights, (rows, columns). A type without a grid is left to the reference quantizer.
   * @param importance of the squared errors of each column
   */
  async quantize(
    type: number,
    weights: Float32Array,
    columns: number,
    importance?: Float32Array,
  ): Promise<Uint8Array> {
    const reference = await quantizeRowsAsync(type, weights, columns, importance, this.threads)
    if (!formatOf(type)?.grid || weights.length === 0) return reference
    const rows = weights.length / columns
    const rowBytes = rowSize(type, columns)
    const shares = Math.min(this.threads, rows)
    const start = (share: number): number => Math.floor((share * rows) / shares)
    const found = new Uint8Array(reference.length)
    await Promise.all(
      Array.from({ length: shares }, async (_, share) => {
        const [from, to] = [start(share), start(share + 1)]
        const request: SearchRequest = {
          type,
          weights: weights.slice(from * columns, to * columns),
          columns,
          importance,
          bytes: reference.slice(from * rowBytes, to * rowBytes),
        }
        const buffers = [request.weights.buffer, request.bytes.buffer] as ArrayBuffer[]
        found.set(await this.team.ask(share, request, buffers), from * rowBytes)
      }),
    )
    return found
  }

  dispose(): Promise<void> {
    return this.team.dispose()
  }
}
