/** Types with a codebook through whole runs: killed and resumed, one block at a time, and where the solution is not kept. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { TrainOptions } from '../../src/config/options.js'
import { formatNamed } from '../../src/formats/table.js'
import { openGguf } from '../../src/gguf/index.js'
import { bytesOf } from '../../src/plan/memory.js'
import { openSource } from '../../src/student/source.js'
import type { TrainReport } from '../../src/train/report.js'
import { train } from '../../src/train/train.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'
import { wordText } from '../support/word-text.js'

let folder: string
/** A run of six steps that nothing has stopped. */
let whole: TrainReport
const at = (name: string): string => join(folder, name)
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-codebooks-'))
  process.env.QUENCH_CACHE = at('cache')
  await writeTinyGguf(at('model.gguf'), { layers: 2, width: 256, heads: 4, feedForward: 256 })
  await writeFile(at('text.txt'), wordText(4000))
  whole = await run('whole.gguf', { steps: 6 })
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const run = (output: string, options: Partial<TrainOptions> = {}) =>
  train({
    ...{ input: at('model.gguf'), output: at(output), type: 'IQ2_XXS', data: [at('text.txt')] },
    ...{ tokens: 1024, context: 64, batch: 128, validation: 512, calibration: 512 },
    ...options,
  })

/** The codes of a matrix of a file. */
async function codesOf(path: string, name: string): Promise<Float32Array> {
  const gguf = await openGguf(path)
  try {
    const bytes = await gguf.read(gguf.tensor(name))
    return formatNamed('IQ2_XXS')!.decode(bytes).q
  } finally {
    await gguf.close()
  }
}

test.each([
  ['among its blocks', (stage: string, done: number) => stage === 'blockwise' && done >= 1],
  ['among its steps', (stage: string, done: number) => stage === 'train' && done === 3],
])('a run that is stopped %s goes on to the same bytes', async (name, ends) => {
  const stop = new AbortController()
  const output = `stopped ${name}.gguf`
  const stopped = run(output, {
    ...{ steps: 6, signal: stop.signal },
    onProgress: ({ stage, done }) => ends(stage, done) && stop.abort(),
  })
  await expect(stopped).rejects.toThrow('--resume goes on')
  const resumed = await run(output, { steps: 6, resume: true })
  expect((await readFile(resumed.path)).equals(await readFile(whole.path))).toBe(true)
})

test('steps train scales and leave the vectors of the block-wise stage', async () => {
  const solved = await run('solved.gguf', { method: 'blockwise' })
  expect([solved.written, whole.written]).toEqual(['qat', 'qat'])
  expect(whole.recovered).toBeGreaterThan(0)
  for (const name of ['blk.0.ffn_up.weight', 'blk.1.attn_q.weight'])
    expect(await codesOf(whole.path, name)).toEqual(await codesOf(solved.path, name))
})

test('a run whose vectors share what is added to them goes on to the same bytes', async () => {
  const options = { type: 'IQ1_S', method: 'blockwise' } as const
  const unbroken = await run('ternary.gguf', options)
  expect(unbroken.written).toBe('qat')
  const stop = new AbortController()
  const stopped = run('stopped ternary.gguf', {
    ...{ ...options, signal: stop.signal },
    onProgress: ({ stage, done }) => stage === 'blockwise' && done >= 1 && stop.abort(),
  })
  await expect(stopped).rejects.toThrow('--resume goes on')
  const resumed = await run('stopped ternary.gguf', { ...options, resume: true })
  expect((await readFile(resumed.path)).equals(await readFile(unbroken.path))).toBe(true)
})

test('one block at a time', async () => {
  const source = await openSource(at('model.gguf'))
  await source.gguf.close()
  const plan = { batch: 128, calibration: 512, trial: 960 }
  const report = await run('small.gguf', {
    method: 'blockwise',
    memory: Math.ceil(bytesOf('solving one block at a time', source, plan)) + 1,
  })
  expect(report.plan.inMemory).toBe(false)
  expect(report.check).toMatchObject({ differing: 0 })
  expect(report.written).toBe('qat')
})

test('no step and no solution: the file of the reference quantizer, without an importance matrix of anybody', async () => {
  const report = await run('stock.gguf', { method: 'distill', steps: 0 })
  expect(report.written).not.toBe('qat')
  expect(
    (await codesOf(report.path, 'blk.0.ffn_up.weight')).every((q) => [8, 25, 43].includes(Math.abs(q))),
  ).toBe(true)
})
