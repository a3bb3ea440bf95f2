/**
 * The plan's memory against that of a process which trains: a plan that says too little lets a machine run out of memory, one that
 * says far too much refuses models that fit. The margins are wide, since a process keeps what its garbage collector has not taken.
 */
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { TrainOptions } from '../../src/config/options.js'
import type { Plan } from '../../src/config/plan.js'
import { bytesOf, type Holder } from '../../src/plan/memory.js'
import { openSource } from '../../src/student/source.js'
import { compiled } from '../support/compiled.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'
import { writeTinyVariant } from '../support/tiny-models.js'

const large = { layers: 2, width: 256, heads: 4, headsKV: 2, feedForward: 512, unused: 30_000 }
const [batch, calibration, trial] = [256, 1024, 960]

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-plan-memory-'))
  await writeTinyGguf(join(folder, 'untied.gguf'), large)
  await writeTinyGguf(join(folder, 'tied.gguf'), { ...large, tied: true })
  await writeTinyVariant(join(folder, 'gemma4.gguf'), {
    architecture: 'gemma4',
    layers: 6,
    width: 256,
    headWidth: 64,
    gemma4: { slides: [true, false, true, false, true, false], perLayer: 256, shared: 2 },
  })
})
afterAll(() => rm(folder, { recursive: true, force: true }))

/** Trains in a process of its own. */
async function peakOf(options: TrainOptions): Promise<{ plan: Plan; peak: number }> {
  const script = join(folder, 'train.mjs')
  await writeFile(
    script,
    `import { train } from ${JSON.stringify(pathToFileURL(compiled('train/train.js')).href)}
    const { plan } = await train(JSON.parse(process.argv[2]))
    console.log(JSON.stringify({ plan, peak: 1024 * process.resourceUsage().maxRSS }))`,
  )
  const { stdout } = await promisify(execFile)(process.execPath, [script, JSON.stringify(options)], {
    env: { ...process.env, QUENCH_CACHE: join(folder, 'cache') },
  })
  return JSON.parse(stdout) as { plan: Plan; peak: number }
}

async function bytesFor(model: string, holder: Holder): Promise<number> {
  const source = await openSource(join(folder, model))
  await source.gguf.close()
  return Math.ceil(bytesOf(holder, source, { batch, calibration, trial }))
}

test.each([
  ['untied.gguf', 'one block at a time'],
  ['gemma4.gguf', 'one block at a time'],
  ['tied.gguf', 'in memory'],
] as const)('%s, %s', async (model, how) => {
  const inMemory = how === 'in memory'
  const least = await bytesFor(model, 'solving one block at a time')
  const most = await bytesFor(model, 'solving in memory')
  const { plan, peak } = await peakOf({
    ...{ input: join(folder, model), output: join(folder, `out-${model}`), type: 'Q4_0' },
    ...{
      data: ['models/quench-5m.test.txt'],
      tokens: 1024,
      validation: 256,
      context: 64,
      batch,
      calibration,
    },
    embeddings: 'yes',
    memory: inMemory ? 4e9 : Math.min(most - 1, least + 2e7),
    ...(inMemory ? { method: 'distill', steps: 2 } : { method: 'blockwise' }),
  })
  expect(plan.inMemory).toBe(inMemory)
  const planned = Math.max(...plan.stages.map(({ bytes }) => bytes))
  expect(peak).toBeLessThan(1.1 * planned)
  expect(peak).toBeGreaterThan(0.4 * planned)
})
