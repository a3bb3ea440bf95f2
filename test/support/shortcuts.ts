/**
 * What makes tests of sources cheaper and is not what they test. Files that need the real modules say `vi.unmock`.
 *
 * - They read the same part of the shipped texts as the commands that they type (`short-texts.ts`).
 * - They plan by the speeds of a made-up machine: timing the work of a block takes longer than the work itself on tiny models.
 * - Threads and processes that sources start run the compiled sources, which load in a tenth of the time.
 */
import { join, relative, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { vi } from 'vitest'
import type { BlockSeconds, probeBlock } from '../../src/plan/probe.js'
import { slowSpeeds } from './block-seconds.js'
import { compiled } from './compiled.js'

const sources = resolve(import.meta.dirname, '../../src')

vi.mock('../../src/data/shipped-texts.js', async (original) => ({
  ...(await original<typeof import('../../src/data/shipped-texts.js')>()),
  shippedFolder: (set: 'calibration' | 'validation') => join(compiled('..'), 'texts', set),
}))

/** The URL of the compiled module in place of a source; that of other modules stays. */
function compiledUrl(from: string): string {
  const path = relative(sources, fileURLToPath(from))
  return path.startsWith('..') ? from : pathToFileURL(compiled(path.replace(/ts$/, 'js'))).href
}

vi.mock('../../src/workers.js', async (original) => {
  const real = await original<typeof import('../../src/workers.js')>()
  return {
    ...real,
    workerEntry: (name: string, from: string) => real.workerEntry(name, compiledUrl(from)),
    processEntry: (name: string, from: string) => real.processEntry(name, compiledUrl(from)),
  }
})

vi.mock('../../src/plan/probe.js', async (original) => ({
  ...(await original<typeof import('../../src/plan/probe.js')>()),
  probeBlock: (...[, , , , , onProgress]: Parameters<typeof probeBlock>): Promise<BlockSeconds> => {
    onProgress?.(1, 1)
    return slowSpeeds()
  },
}))
