/** A worker thread of row-pool.ts: receives panels and returns their results. */
import { parentPort } from 'node:worker_threads'
import type { RefinePanel, RoundPanel } from './panels.js'
import { buffersOf, runPanel } from './row-pool.js'

parentPort?.on('message', (panel: RefinePanel | RoundPanel) => {
  const result = runPanel(panel)
  parentPort?.postMessage(result, buffersOf(result))
})
