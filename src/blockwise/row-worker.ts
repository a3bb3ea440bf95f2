/** A worker thread of row-pool.ts: receives panels and returns their results. */
import { parentPort } from 'node:worker_threads'
import { type Panel, runPanel } from './panels.js'
import { buffersOf } from './row-pool.js'

parentPort?.on('message', (panel: Panel) => {
  const result = runPanel(panel)
  parentPort?.postMessage(result, buffersOf(result))
})
