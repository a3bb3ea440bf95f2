/**
 * Worker threads that process rows of a panel (panels.ts) together with the main thread. Rows are independent, so the result does
 * not depend on the number of threads. Small panels are not split.
 */
import { WorkerTeam, workerEntry } from '../workers.js'
import { type Panel, type ResultOf, runPanel } from './panels.js'

/** Splits `count` rows into shares that are processed in parallel. */
export interface RowPool {
  /** For every share, calls `panelOf` with its first row and number of rows, and `take` with its first row and the result. */
  run<P extends Panel>(
    count: number,
    panelOf: (row: number, rows: number) => P,
    take: (row: number, result: ResultOf<P>) => void,
  ): Promise<void>
}

/** The calling thread alone. */
export const thisThread: RowPool = {
  async run(count, panelOf, take) {
    take(0, runPanel(panelOf(0, count)))
  },
}

/** Fewest rows of a share; below that the overhead of another thread is too large. */
const leastRows = 64

export class WorkerRows implements RowPool {
  private readonly team = new WorkerTeam<Panel, ResultOf<Panel>>(
    workerEntry('./row-worker', import.meta.url),
    'rounds rows of a matrix',
  )

  /** @param threads in all, including the main thread; the others start when they are first needed */
  constructor(private readonly threads: number) {}

  async run<P extends Panel>(
    count: number,
    panelOf: (row: number, rows: number) => P,
    take: (row: number, result: ResultOf<P>) => void,
  ): Promise<void> {
    const shares = Math.max(1, Math.min(this.threads, Math.floor(count / leastRows)))
    const start = (share: number): number => Math.floor((share * count) / shares)
    const others = Array.from({ length: shares - 1 }, (_, i) => {
      const row = start(i + 1)
      return this.ask(i, panelOf(row, start(i + 2) - row)).then((result) => take(row, result))
    })
    const own = async () => take(0, runPanel(panelOf(0, start(1))))
    await Promise.all([...others, own()])
  }

  private ask<P extends Panel>(index: number, panel: P): Promise<ResultOf<P>> {
    return this.team.ask(index, panel, buffersOf(panel)) as Promise<ResultOf<P>>
  }

  dispose(): Promise<void> {
    return this.team.dispose()
  }
}

/** The buffers of a panel or a result, which are transferred to the other thread instead of copied. */
export function buffersOf(panel: Panel | ResultOf<Panel>): ArrayBuffer[] {
  const arrays = Object.values({ ...panel, ...('codes' in panel ? panel.codes : {}) })
  return arrays.filter((value) => value instanceof Float32Array).map(({ buffer }) => buffer as ArrayBuffer)
}
