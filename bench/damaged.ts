/**
 * Runs damaged copies of the shipped model through the work of `inspect`, `quantize` and `eval`: counts refusals, and what
 * must be zero: signals, errors that are bugs, multi-line messages, and output of native code.
 *
 *     npx tsx bench/damaged.ts [copies] [first]
 */
import { fileURLToPath } from 'node:url'
import { tryDamaged } from '../test/support/try-damaged.js'

const [copies = 1000, first = 1] = process.argv.slice(2).map(Number)
const model = fileURLToPath(new URL('../models/quench-5m-f16.gguf', import.meta.url))
let done = 0
const began = performance.now()
const { refused, faults, messages, longest } = await tryDamaged(
  model,
  Array.from({ length: copies }, (_, i) => first + i),
  () => {
    if (++done % 50 === 0) console.error(`${done} of ${copies}`)
  },
)
for (const [message, count] of [...messages].sort((a, b) => b[1] - a[1])) console.log(`${count} ${message}`)
for (const fault of faults) console.log(JSON.stringify(fault))
console.log(
  `${copies} copies in ${((performance.now() - began) / 1000).toFixed(0)} s, at most ${longest.toFixed(1)} s each`,
)
console.log(`refused: ${JSON.stringify(refused)}; faults: ${faults.length}`)
process.exitCode = faults.length > 0 ? 1 : 0
