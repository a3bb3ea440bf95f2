/** A QAT checkpoint and its files against two models: the checkpoint itself, and the model before the training. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { compare } from '../../src/compare/compare.js'
import { evaluateFiles } from '../../src/evaluate/index.js'
import { modelCard, reportPage } from '../../src/report/index.js'
import { comparisonText } from '../../src/report/text.js'
import { conventions } from '../support/lattice-conventions.js'
import { writeOnGrid } from '../support/lattice-file.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'

let folder: string
let original: string
let model: string
const text = 'The ship had been at sea when the wind rose. '.repeat(20)
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-'))
  ;[original, model] = ['before', 'checkpoint'].map((name) => join(folder, `${name}.gguf`))
  await writeTinyGguf(original, { layers: 1 })
  await writeOnGrid(original, model, conventions[0], 'BF16')
})
afterAll(() => rm(folder, { recursive: true }))

test('conversion loss and method loss are told apart, and are those of an evaluation against each model', async () => {
  const data = join(folder, 'text.txt')
  await writeFile(data, text)
  const options = {
    ...{ model, original, data: [data], types: [conventions[0].type], imatrix: 'none', folder },
    ...{
      repetitions: 0,
      continuations: 0,
      context: 32,
      tokens: 128,
      threads: 1,
      store: join(folder, 'store.db'),
    },
  }
  const comparison = await compare(options)
  const [file] = comparison.files
  const { files } = await evaluateFiles({
    ...{ reference: original, files: [model, file.path], text, context: 32, maxTokens: 128, threads: 1 },
  })
  expect(comparison.model.original?.kld.mean).toBeCloseTo(files[0].kld.mean, 9)
  expect(file.original?.kld.mean).toBeCloseTo(files[1].kld.mean, 9)
  // The codes of the checkpoint are kept, so that conversion loses far less than the training has changed.
  expect(file.kld.mean).toBeLessThan((file.original?.kld.mean ?? 0) / 2)
  expect(comparison.original).toMatchObject({ path: original })

  const shown = [
    comparisonText(comparison).join('\n'),
    await reportPage(comparison),
    await modelCard(comparison),
  ]
  for (const text of shown) {
    expect(text).toContain('method loss')
    expect(text).toContain('conversion loss')
    expect(text).toContain('before.gguf, the model before its training')
    expect(text).toContain((file.original?.kld.mean ?? 0).toFixed(5))
  }
  // The losses are other measurements than those without an original, and are kept too.
  expect(await compare(options)).toEqual(comparison)
})

test('the model itself is no original, which is told before any work', async () => {
  const stages: string[] = []
  const onProgress = ({ stage }: { stage: string }) => stages.push(stage)
  await expect(
    compare({ model, original: model, folder, types: ['Q4_0'], store: join(folder, 'store.db'), onProgress }),
  ).rejects.toThrow(`--original ${model} is the model itself`)
  expect(stages).toEqual(['hash'])
})
