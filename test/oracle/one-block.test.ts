/** Training with one block in memory at a time, of models whose vocabulary is larger than their blocks. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest'
import { Gguf } from '../../src/gguf/reader.js'
import { bytesOf, heldOutside, memoryOf, sizesOf } from '../../src/plan/memory.js'
import { openSource } from '../../src/student/source.js'
import { train } from '../../src/train/train.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'
import { wordText } from '../support/word-text.js'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-one-block-'))
  process.env.QUENCH_CACHE = join(folder, 'cache')
  await writeFile(join(folder, 'text.txt'), wordText(4000))
})
afterAll(() => rm(folder, { recursive: true, force: true }))
afterEach(() => vi.restoreAllMocks())

const plan = { batch: 128, calibration: 512, trial: 960 }

test.each([
  ['untied', false],
  ['tied', true],
] as const)('%s: the output matrix is read a few times, not for every batch', async (name, tied) => {
  const input = join(folder, `${name}.gguf`)
  await writeTinyGguf(input, { layers: 2, width: 32, heads: 2, headsKV: 1, feedForward: 32, tied })
  const source = await openSource(input)
  await source.gguf.close()
  expect(sizesOf(source).outside).toBeGreaterThan(sizesOf(source).block)
  const reads = vi.spyOn(Gguf.prototype, 'readSync')
  const report = await train({
    ...{ input, output: join(folder, `${name}-out.gguf`), type: 'Q4_0', data: [join(folder, 'text.txt')] },
    ...{
      tokens: 512,
      context: 64,
      validation: 512,
      batch: plan.batch,
      calibration: plan.calibration,
      method: 'blockwise',
    },
    memory: Math.ceil(bytesOf('solving one block at a time', source, plan)) + 1,
  })
  expect(report.plan.inMemory).toBe(false)
  const head = tied ? 'token_embd.weight' : 'output.weight'
  const whole = reads.mock.calls.filter(
    ([tensor, , length = tensor.bytes]) => tensor.name === head && length === tensor.bytes,
  )
  expect(whole.length).toBeGreaterThan(0)
  expect(whole.length).toBeLessThanOrEqual(4)
})

test('a type that takes no importances', async () => {
  const input = join(folder, 'ignoring.gguf')
  await writeTinyGguf(input, { layers: 2, width: 64, heads: 2, headsKV: 1, feedForward: 64 })
  const source = await openSource(input)
  await source.gguf.close()
  const options = {
    ...{ input, type: 'Q2_0', data: [join(folder, 'text.txt')], tokens: 512, context: 64, validation: 512 },
    ...{ batch: plan.batch, calibration: plan.calibration, method: 'blockwise' as const },
  }
  const whole = await train({ ...options, output: join(folder, 'whole.gguf') })
  const report = await train({
    ...{ ...options, output: join(folder, 'ignoring-out.gguf') },
    memory: Math.ceil(bytesOf('solving one block at a time', source, plan)) + 1,
  })
  expect(report.plan.inMemory).toBe(false)
  expect(report.check.differing).toBe(0)
  expect(report.written).toBe('qat')
  expect(report.opponent).toBe('plain')
  expect(report.validation[0].mean).toBeCloseTo(whole.validation[0].mean, 4)
})

test('a table of which tokens choose rows is not counted as held', async () => {
  const input = join(folder, 'table.gguf')
  await writeTinyGguf(input, { layers: 1, width: 32, heads: 2, headsKV: 1, feedForward: 32 })
  const source = await openSource(input)
  await source.gguf.close()
  const { vocabulary, width } = source.config
  expect(sizesOf(source).outside - heldOutside(source)).toBe(vocabulary * width)
  const outside = memoryOf('solving one block at a time', source, plan).find(({ what }) =>
    what.includes('outside'),
  )
  expect(outside?.amount).toBe(8 * (vocabulary * width + width))
})
