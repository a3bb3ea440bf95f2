/** A worker thread of rows.ts: receives rows and returns their bytes. */
import { parentPort } from 'node:worker_threads'
import type { Format } from '../../formats/format.js'
import { formatOf } from '../../formats/table.js'
import type { SearchRequest } from './rows.js'
import { searchCodes } from './search.js'
import { weighErrors } from './weighing.js'

parentPort?.on('message', ({ type, weights, columns, importance, bytes }: SearchRequest) => {
  const format = formatOf(type) as Format
  const factors = weighErrors(weights, columns, importance)
  const found = format.encode(searchCodes(format, format.decode(bytes), weights, factors))
  parentPort?.postMessage(found, [found.buffer as ArrayBuffer])
})
