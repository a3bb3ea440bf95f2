/** Files of a size that is asked for: never larger, nearly as large, and found again without measuring. */
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { quantizeToSize } from '../../src/allocate/allocate.js'
import { openGguf } from '../../src/gguf/index.js'
import { readTensorTypes } from '../../src/quantize/tensor-type-file.js'
import { planTraining } from '../../src/train/train.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'

let folder: string
let model: string
let shared: Parameters<typeof quantizeToSize>[2]
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-'))
  model = join(folder, 'tiny.gguf')
  await writeTinyGguf(model, { width: 128, feedForward: 256 })
  const text = join(folder, 'text.txt')
  await writeFile(text, 'The ship had been at sea when the wind rose. '.repeat(20))
  shared = {
    data: [text],
    tokens: 128,
    context: 32,
    candidates: 6,
    threads: 1,
    store: join(folder, 'store.db'),
  }
})
afterAll(() => rm(folder, { recursive: true }))

test('bits per weight are met; a second run measures nothing, and one that was killed only the rest', async () => {
  const output = join(folder, 'bits.gguf')
  const found = await quantizeToSize(model, output, { ...shared, targetBits: 6 })
  expect(found.bitsPerWeight).toBeLessThanOrEqual(6)
  expect(found.bitsPerWeight).toBeGreaterThan(0.995 * 6)
  expect(found.kld).toBeLessThanOrEqual(found.firstKld)
  expect(found.measured).toBeGreaterThan(found.tensors.length)
  const again = await quantizeToSize(model, output, { ...shared, targetBits: 6 })
  expect(again).toEqual({ ...found, measured: 0 })

  const store = join(folder, 'killed.db')
  const stopped = quantizeToSize(model, output, {
    ...{ ...shared, store, targetBits: 6 },
    onProgress({ stage, done }) {
      if (stage === 'candidates' && done > 0) throw new Error('killed')
    },
  })
  await expect(stopped).rejects.toThrow('killed')
  expect((await readdir(folder)).filter((name) => name.endsWith('.tmp'))).toEqual([])
  const resumed = await quantizeToSize(model, output, { ...shared, store, targetBits: 6 })
  expect(resumed.measured).toBeLessThan(found.measured)
  expect({ ...resumed, measured: found.measured }).toEqual(found)
})

test.each([150_000, 200_000, 250_000])(
  'a size of %i bytes is met, and a dry run tells it',
  async (targetBytes) => {
    const output = join(folder, `size-${targetBytes}.gguf`)
    const planned = await quantizeToSize(model, output, {
      ...shared,
      candidates: 1,
      targetBytes,
      dryRun: true,
    })
    await expect(stat(output)).rejects.toThrow('ENOENT')
    const { bytes } = await quantizeToSize(model, output, { ...shared, candidates: 1, targetBytes })
    expect((await stat(output)).size).toBe(bytes)
    expect(planned.bytes).toBe(bytes)
    expect(bytes).toBeLessThanOrEqual(targetBytes)
    expect(bytes).toBeGreaterThan(0.995 * targetBytes)
  },
)

test('training goes on from the types of the file', async () => {
  const output = join(folder, 'trainable.gguf')
  await quantizeToSize(model, output, { ...shared, candidates: 1, targetBits: 5, trainable: true })
  const gguf = await openGguf(output)
  await gguf.close()
  const counts: Record<string, number> = {}
  for (const { type } of (await readTensorTypes(output)).values()) counts[type] = (counts[type] ?? 0) + 1
  const { types } = await planTraining({
    ...{
      input: model,
      output: join(folder, 'trained.gguf'),
      type: 'Q4_0',
      tensorTypes: await readTensorTypes(output),
    },
    ...{ tokens: 256, calibration: 128, context: 16, validation: 64, selfWritten: 0 },
  })
  expect(types).toMatchObject(counts)
  expect(gguf.tensors.filter(({ type }) => type > 1).length).toBe(
    Object.values(counts).reduce((a, b) => a + b),
  )
})

test('what cannot be is told', async () => {
  const output = join(folder, 'none.gguf')
  await expect(quantizeToSize(model, output, { ...shared, targetBits: 0.5 })).rejects.toThrow(
    '--target-bits 0.5 is less than the smallest types of its tensors take; ask for more, or give --imatrix, which allows smaller types',
  )
  await expect(quantizeToSize(model, output, shared)).rejects.toThrow('either a size or bits')
})
