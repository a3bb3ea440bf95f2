/** A worker thread of keep-rows.ts: receives rows and returns their bytes. */
import { parentPort } from 'node:worker_threads'
import type { Format } from '../formats/format.js'
import { formatOf } from '../formats/table.js'
import type { KeepRequest, KeptRows } from './keep-rows.js'
import { type Placed, placeOnGrid } from './place.js'

parentPort?.on('message', ({ type, weights, bytes }: KeepRequest) => {
  const format = formatOf(type) as Format
  const codes = format.decode(bytes)
  const placed = placeOnGrid(format, weights, codes) as Placed
  const kept: KeptRows = { bytes: format.encode(codes), placed }
  parentPort?.postMessage(kept, [kept.bytes.buffer as ArrayBuffer])
})
