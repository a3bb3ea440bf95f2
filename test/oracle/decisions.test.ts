/**
 * What decides and what does not: measured speeds only with --time, and then a resumed run keeps what was decided; never how much
 * memory or disk is free.
 */

import { existsSync } from 'node:fs'
import fsp, { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest'
import type { TrainOptions } from '../../src/config/options.js'
import type { TrainReport } from '../../src/train/report.js'
import { train } from '../../src/train/train.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'

let folder: string
let input: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-decisions-'))
  process.env.QUENCH_CACHE = join(folder, 'cache')
  input = join(folder, 'model.gguf')
  await writeTinyGguf(input, { layers: 1, width: 64, heads: 2, headsKV: 1, feedForward: 64 })
})
afterEach(() => {
  vi.restoreAllMocks()
  syncBuiltinESMExports()
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const output = (name: string): string => join(folder, name)
const run = (name: string, more: Partial<TrainOptions>): Promise<TrainReport> =>
  train({ input, output: output(name), type: 'Q4_0', context: 32, batch: 128, validation: 128, ...more })

/** Runs until the model begins to write its text. */
async function stopped(name: string, more: Partial<TrainOptions>): Promise<string> {
  const stop = new AbortController()
  const onProgress: TrainOptions['onProgress'] = ({ stage }) => {
    if (stage === 'write text') stop.abort(new Error('stopped while it wrote'))
  }
  await expect(run(name, { ...more, signal: stop.signal, onProgress })).rejects.toThrow('while it wrote')
  return join(`${output(name)}.blocks`, 'decisions.json')
}

it('a run with --time that was killed before its first block keeps how it had shared its time', async () => {
  const path = await stopped('time.gguf', { seconds: 4, method: 'distill' })
  const decisions = JSON.parse(await readFile(path, 'utf8'))
  expect(decisions).toMatchObject({ method: 'distill', inMemory: true, teacherTopK: 0 })
  // As if this machine had been slower then.
  await writeFile(path, JSON.stringify({ ...decisions, tokens: 2048, calibration: 1024 }))
  const { plan, steps } = await run('time.gguf', { seconds: 4, method: 'distill', resume: true })
  expect(plan).toMatchObject({ tokens: 2048, calibration: 1024, method: 'distill' })
  expect(steps).toBeGreaterThan(0)
  expect((await readdir(folder)).filter((name) => name.startsWith('time'))).toEqual(['time.gguf'])
})

it('decisions alone are nothing that a new run would lose', async () => {
  const small = { tokens: 1024, calibration: 512, steps: 1 }
  const path = await stopped('anew.gguf', { ...small, seed: 7 })
  expect(existsSync(path)).toBe(true)
  const { plan } = await run('anew.gguf', { ...small, calibration: 256, seed: 7 })
  expect(plan.calibration).toBe(256)
})

it('a run that keeps nothing leaves no decisions', async () => {
  const small = { tokens: 1024, calibration: 512, steps: 1, seed: 8 }
  const path = await stopped('none.gguf', { ...small, checkpointEvery: Number.POSITIVE_INFINITY })
  expect(existsSync(path)).toBe(false)
})

const small = { tokens: 1024, calibration: 512, steps: 2 }

it('a busy machine makes the same file and is told of', async () => {
  const quiet = await run('quiet.gguf', small)
  vi.spyOn(process, 'availableMemory').mockReturnValue(1000)
  vi.spyOn(process.memoryUsage, 'rss').mockReturnValue(1e6)
  const warnings: string[] = []
  const busy = await run('busy.gguf', { ...small, onWarning: (warning) => warnings.push(warning) })
  expect(busy.plan.memory).toBe(quiet.plan.memory)
  expect((await readFile(busy.path)).equals(await readFile(quiet.path))).toBe(true)
  expect(warnings).toEqual([
    expect.stringMatching(
      /^training takes about 0\.\d GB of memory and 0\.0 GB are free; end other programs, or allow less with --memory$/,
    ),
  ])
})

it('a disk that is too small is told of, with a method that fits, and decides nothing', async () => {
  const { plan, bytes } = await run('wide.gguf', small)
  const narrow = (free: number): void => {
    vi.spyOn(fsp, 'statfs').mockResolvedValue({ bavail: free, bsize: 1 } as never)
    syncBuiltinESMExports()
  }
  for (const [free, advice] of [
    [Math.floor(plan.diskBytes), 'make room, choose another folder, or --method scales, which fits'],
    [
      Math.ceil(plan.blockBytes) + bytes,
      'make room, choose another folder, or --method blockwise, which fits',
    ],
    [bytes, 'make room or choose another folder'],
  ] as const) {
    narrow(free)
    await expect(run('narrow.gguf', small)).rejects.toThrow(`are free; ${advice}`)
  }
  expect((await readdir(folder)).filter((name) => name.includes('narrow'))).toEqual([])
})

it('a run goes on to the same file with another budget of memory, and with its text gone from the cache', async () => {
  const undisturbed = await run('undisturbed.gguf', { ...small, seed: 9 })
  const stop = new AbortController()
  const onProgress: TrainOptions['onProgress'] = ({ stage }) => stage === 'train' && stop.abort()
  const options = { ...small, seed: 9, memory: 20e9 }
  await expect(run('moved.gguf', { ...options, signal: stop.signal, onProgress })).rejects.toThrow('step 1;')
  await rm(join(folder, 'cache'), { recursive: true })
  const moved = await run('moved.gguf', { ...options, memory: 2e9, resume: true })
  expect((await readFile(moved.path)).equals(await readFile(undisturbed.path))).toBe(true)
})
