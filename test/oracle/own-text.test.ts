/** Text that a model writes for evaluation. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ownTextWarning, writeDocuments } from '../../src/data/own-text.js'
import { evaluateFiles } from '../../src/evaluate/index.js'
import { quantizeFile } from '../../src/quantize/ptq.js'

const model = join(import.meta.dirname, '../../models/quench-5m-f16.gguf')
let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-own-text-'))
  process.env.QUENCH_CACHE = join(folder, 'cache')
})
afterAll(() => rm(folder, { recursive: true, force: true }))

test('enough documents for the tokens, the same again, and files can be evaluated on them', async () => {
  const options = { tokens: 1000, length: 128 }
  const documents = await writeDocuments(model, options)
  expect(documents.length).toBe(9)
  expect(documents.every(({ text }) => text.length > 100)).toBe(true)
  expect(await writeDocuments(model, options)).toEqual(documents)
  const file = join(folder, 'q4_0.gguf')
  await quantizeFile(model, file, 'Q4_0')
  const { files } = await evaluateFiles({
    reference: model,
    files: [file],
    text: documents,
    context: 128,
    maxTokens: 1000,
  })
  expect(files[0].kld.mean).toBeGreaterThan(0.001)
  expect(files[0].kld.mean).toBeLessThan(0.05)
  expect(ownTextWarning(documents, model)).toBe(
    `no text was given, so ${model} wrote 9 documents to evaluate on; text of your own may rank files differently`,
  )
})
