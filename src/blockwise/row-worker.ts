/** A worker thread of row-pool.ts: a panel comes, its result goes back. */
import { parentPort } from 'node:worker_threads'
import type { RefinePanel, RoundPanel } from './panels.js'
import { buffersOf, runPanel } from './row-pool.js'

parentPort?.on('message', (panel: RefinePanel | RoundPanel) => {
  const result = runPanel(panel)
  parentPort?.postMessage(result, buffersOf(result))
})
