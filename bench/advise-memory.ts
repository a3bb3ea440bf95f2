/**
 * Memory from the header beside what libllama holds, over generated models of every known architecture, four types of weights
 * and contexts of every kind, or over files of one's own:
 *
 *   npx tsx bench/advise-memory.ts [FILE.gguf ...]
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { humanBytes } from '../src/format.js'
import { openGguf } from '../src/gguf/index.js'
import { compareMemory, memoryModels, memoryTypes, sumOf, writeZeros } from '../test/support/memory-models.js'

let worst = { below: 1, above: 1 }
let count = 0

async function show(name: string, path: string): Promise<void> {
  const gguf = await openGguf(path)
  await gguf.close()
  for (const { context, estimate, measured } of await compareMemory(gguf)) {
    const ratio = sumOf(estimate) / sumOf(measured)
    worst = { below: Math.min(worst.below, ratio), above: Math.max(worst.above, ratio) }
    count++
    const parts = (['weights', 'cache', 'compute'] as const).map(
      (use) => `${humanBytes(estimate[use])} / ${humanBytes(measured[use])}`,
    )
    console.log([name, JSON.stringify(context), ...parts, `${((ratio - 1) * 100).toFixed(2)} %`].join(' | '))
  }
}

console.log('model | context | weights | cache | compute | estimate against libllama')
const folder = await mkdtemp(join(tmpdir(), 'quench-advise-memory-'))
try {
  const files = process.argv.slice(2)
  for (const file of files) await show(basename(file), file)
  for (const { name, write } of files.length === 0 ? memoryModels : []) {
    const source = join(folder, 'source.gguf')
    await write(source)
    for (const type of memoryTypes) await show(`${name}, ${type}`, await writeZeros(source, folder, type))
  }
} finally {
  await rm(folder, { recursive: true })
}
const percent = (ratio: number): string => `${((ratio - 1) * 100).toFixed(2)} %`
console.log(
  `${count} combinations; from ${percent(worst.below)} to ${percent(worst.above)} of what libllama holds`,
)
