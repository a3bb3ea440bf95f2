/** Runs with `--time` on a machine that is slower than planned: less text, and blocks that are solved on fewer tokens or not at all. */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { SolvingPace } from '../../src/blockwise/pace.js'
import type { TrainOptions } from '../../src/config/options.js'
import { WritingLimit } from '../../src/llama/writing-limit.js'
import { bytesOf } from '../../src/plan/memory.js'
import { openSource } from '../../src/student/source.js'
import { train } from '../../src/train/train.js'
import { writeTrainingModels } from '../support/training-models.js'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-late-'))
  process.env.QUENCH_CACHE = join(folder, 'cache')
  await writeTrainingModels(folder)
})
afterAll(() => rm(folder, { recursive: true, force: true }))
afterEach(() => vi.restoreAllMocks())

const common = {
  type: 'Q4_0',
  context: 64,
  batch: 128,
  validation: 256,
  seconds: 3600,
  method: 'blockwise',
} as const

/** What solving one block at a time takes, and no more. */
async function leastMemory(input: string): Promise<number> {
  const source = await openSource(input)
  await source.gguf.close()
  const sizes = { batch: 128, calibration: 1024, trial: 640 }
  return Math.ceil(bytesOf('solving one block at a time', source, sizes)) + 1
}

describe.each(['in memory', 'one block at a time'])('%s', (mode) => {
  test('blocks are solved on fewer tokens, then not at all, and a resumed run keeps them', async () => {
    const input = join(folder, 'deep.gguf')
    const output = join(folder, `late ${mode}.gguf`)
    const warnings: string[] = []
    const options: TrainOptions = {
      ...common,
      ...{ input, output, data: [join(folder, 'text.txt')], tokens: 1024, calibration: 1024 },
      ...{ onWarning: (sentence) => warnings.push(sentence) },
      ...(mode === 'one block at a time' && { memory: await leastMemory(input) }),
    }
    const batches = vi
      .spyOn(SolvingPace.prototype, 'batches')
      .mockImplementation((left, count) => (left > 4 ? count : left === 4 ? 3 : left === 3 ? 3 : 0))
    const stop = new AbortController()
    const stopped = train({
      ...options,
      signal: stop.signal,
      onProgress: ({ stage, done }) => {
        if (stage === 'blockwise' && done > 4.1) stop.abort()
      },
    })
    // It is stopped after its last block was cut.
    await expect(stopped.catch((error: Error) => error.message)).resolves.toMatch(
      /stopped in block|^\[object/,
    )
    batches.mockClear()
    const report = await train({ ...options, resume: true })
    expect(report.plan.inMemory).toBe(mode === 'in memory')
    expect(report.check.differing).toBe(0)
    expect(warnings.join('\n')).toContain(
      'to keep --time, blocks 3 to 6 of 6 are solved on 384 of 1024 tokens',
    )
    expect(warnings.join('\n')).toContain('no time left to solve blocks 5 to 6 of 6')
    expect((await readFile(output)).length).toBeGreaterThan(0)
  })
})

test('text that is not finished in time gives way to general text, of a resumed run too', async () => {
  const warnings: string[] = []
  const options = {
    ...common,
    ...{
      input: join(folder, 'llama.gguf'),
      output: join(folder, 'short.gguf'),
      tokens: 4096,
      calibration: 512,
    },
    onWarning: (sentence: string) => warnings.push(sentence),
  }
  vi.spyOn(WritingLimit.prototype, 'remaining').mockImplementation((_, active) => Math.min(active, 11))
  const stop = new AbortController()
  const stopped = train({
    ...options,
    signal: stop.signal,
    onProgress: ({ stage }) => {
      if (stage === 'blockwise') stop.abort()
    },
  })
  await expect(stopped).rejects.toThrow('stopped')
  vi.restoreAllMocks()
  expect(warnings.join()).toContain(`the model had time to write ${11 * 64} of 2,048 tokens`)
  const { textTokens } = await train({ ...options, resume: true })
  expect(textTokens).toMatchObject({ selfWritten: 11 * 64, general: 53 * 64 })
})
