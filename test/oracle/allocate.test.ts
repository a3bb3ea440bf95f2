/** Files of a size that is asked for: never larger, nearly as large, and found again without measuring. */
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { quantizeToSize } from '../../src/allocate/allocate.js'
import { openGguf } from '../../src/gguf/index.js'
import { verifyFile } from '../../src/names/verify.js'
import { readTensorTypes } from '../../src/quantize/tensor-type-file.js'
import { planTraining } from '../../src/train/train.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'

let folder: string
let model: string
let shared: Parameters<typeof quantizeToSize>[2]
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-'))
  model = join(folder, 'tiny.gguf')
  await writeTinyGguf(model, { layers: 1, width: 128, feedForward: 256 })
  const text = join(folder, 'text.txt')
  await writeFile(text, 'The ship had been at sea when the wind rose. '.repeat(20))
  shared = {
    data: [text],
    tokens: 128,
    context: 32,
    candidates: 1,
    threads: 1,
    store: join(folder, 'store.db'),
  }
})
afterAll(() => rm(folder, { recursive: true }))

test('bits per weight are met; a killed search measures only the rest, and a second one nothing', async () => {
  const output = join(folder, 'bits.gguf')
  let before = 0
  const killed = quantizeToSize(model, output, {
    ...{ ...shared, targetBits: 6 },
    onProgress({ stage, done, total }) {
      if (stage === 'sensitivities') before = total
      if (stage === 'candidates' && done === total) throw new Error('killed')
    },
  })
  await expect(killed).rejects.toThrow('killed')
  expect((await readdir(folder)).filter((name) => name.endsWith('.tmp') || name === 'bits.gguf')).toEqual([])
  const found = await quantizeToSize(model, output, { ...shared, candidates: 4, targetBits: 6 })
  expect(before).toBe(found.tensors.length)
  expect(found.measured).toBeGreaterThan(0)
  expect(found.measured).toBeLessThanOrEqual(3)
  expect(found.bitsPerWeight).toBeLessThanOrEqual(6)
  expect(found.bitsPerWeight).toBeGreaterThan(0.995 * 6)
  expect(found.kld).toBeLessThanOrEqual(found.firstKld)
  const again = await quantizeToSize(model, output, { ...shared, candidates: 4, targetBits: 6 })
  expect(again).toEqual({ ...found, measured: 0, probed: 0 })
  expect(found.probed).toBe(0)
  const other = await quantizeToSize(model, output, {
    ...{ ...shared, targetBits: 6, context: 16, dryRun: true },
  })
  expect(other).toMatchObject({ measured: 1, probed: found.tensors.length })
})

test.each([100_000, 130_000])('a size of %i bytes is met, and a dry run tells it', async (targetBytes) => {
  const output = join(folder, `size-${targetBytes}.gguf`)
  const planned = await quantizeToSize(model, output, { ...shared, targetBytes, dryRun: true })
  await expect(stat(output)).rejects.toThrow('ENOENT')
  const { bytes } = await quantizeToSize(model, output, { ...shared, targetBytes })
  expect((await stat(output)).size).toBe(bytes)
  expect(planned.bytes).toBe(bytes)
  expect(bytes).toBeLessThanOrEqual(targetBytes)
  expect(bytes).toBeGreaterThan(0.995 * targetBytes)
  const { ok, data, made } = await verifyFile(output, { sources: [model] })
  expect({ ok, state: data.state }).toEqual({ ok: true, state: 'intact' })
  expect(made.at(-1)).toMatchObject({ command: 'quantize', options: { targetBytes } })
})

test('training goes on from the types of the file', async () => {
  const output = join(folder, 'trainable.gguf')
  await quantizeToSize(model, output, { ...shared, targetBits: 5, trainable: true })
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
    /^--target-bits 0\.5 is less than [1-9]\.\d+, the least that types of its tensors take; ask for more, or give --imatrix, which allows smaller types$/,
  )
  const small = await quantizeToSize(model, output, { ...shared, targetBytes: 10_000 }).then(
    () => '',
    (error: Error) => error.message,
  )
  const [, size] =
    /^--target-size 10\.0kB is less than [\d.]+kB \((\d+) bytes\), the least /.exec(small) ?? []
  const least = { ...shared, targetBytes: Number(size), dryRun: true }
  expect((await quantizeToSize(model, output, least)).bytes).toBe(Number(size))
  await expect(quantizeToSize(model, output, { ...least, targetBytes: Number(size) - 1 })).rejects.toThrow(
    `(${size} bytes)`,
  )
  await expect(quantizeToSize(model, output, shared)).rejects.toThrow('either a size or bits')
})

test('an input that is within the target is refused at once', async () => {
  const output = join(folder, 'within.gguf')
  const progress: string[] = []
  const asked = { ...shared, onProgress: ({ stage }: { stage: string }) => void progress.push(stage) }
  await expect(quantizeToSize(model, output, { ...asked, targetBits: 40 })).rejects.toThrow(
    /: it takes 32\.000 bits per weight, which is within --target-bits 40; there is nothing to do$/,
  )
  await expect(quantizeToSize(model, output, { ...asked, targetBytes: 1e9 })).rejects.toThrow(
    /: it takes \d+ [kM]?B, which is within --target-size 1\.00GB; there is nothing to do$/,
  )
  expect(progress).toEqual([])
})
