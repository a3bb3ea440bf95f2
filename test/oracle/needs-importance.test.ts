/** What is said of file types and importances, beside the types that libllama plans and what ggml's quantizer does with them. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ggmlTypeId, QUANTIZABLE_TYPES, quantizeRows } from '../../src/llama/index.js'
import { needsMatrix, typeUsesImportance, usesImportance } from '../../src/quantize/needs-importance.js'
import { quantizedTypes } from '../../src/quantize/options.js'
import { planQuantization } from '../../src/quantize/plan.js'
import { Random } from '../../src/random.js'
import { gaussian } from '../support/gaussian.js'
import { writeGgufImatrix } from '../support/imatrix.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'

let folder: string
let model: string
let imatrix: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-needs-'))
  ;[model, imatrix] = ['model', 'imatrix'].map((name) => join(folder, `${name}.gguf`))
  await writeTinyGguf(model, { width: 256, heads: 2, headsKV: 2, feedForward: 512, layers: 8 })
  const { tensors } = await planQuantization(model, 'Q8_0')
  const entries = tensors
    .filter(({ name, shape }) => name.startsWith('blk.') && shape.length > 1)
    .map(({ name, shape }) => ({ name, values: new Float32Array(shape[0]).fill(1) }))
  await writeGgufImatrix(imatrix, entries)
})
afterAll(() => rm(folder, { recursive: true }))

/** Tensor types of which other importances give other bytes. */
const weighed = new Set(
  QUANTIZABLE_TYPES.filter((type) => {
    const random = new Random(3)
    const weights = gaussian(random, 4 * 256)
    const [a, b] = [0, 1].map(() =>
      quantizeRows(
        type,
        weights,
        256,
        Float32Array.from({ length: 256 }, () => random.uniform() ** 4 + 1e-3),
      ),
    )
    return Buffer.compare(a, b) !== 0
  }),
)

test('which tensor types use importances', () => {
  expect(QUANTIZABLE_TYPES.filter(typeUsesImportance)).toEqual([...weighed])
})

test.each(quantizedTypes)('%s', async (type) => {
  const plain = await planQuantization(model, type)
  expect(needsMatrix(type)).toBe(plain.tensors.some(({ problem }) => problem !== undefined))
  const { tensors } = await planQuantization(model, type, { imatrix })
  const inBlocks = tensors.filter(({ name, from, to }) => name.startsWith('blk.') && from !== to)
  expect(usesImportance(type)).toBe(inBlocks.some(({ to }) => weighed.has(ggmlTypeId(to))))
  // Where importances matter, they do not do so by the choice of types alone.
  const typesOf = (all: typeof tensors) => all.map(({ to }) => to)
  if (!usesImportance(type)) expect(typesOf(tensors)).toEqual(typesOf(plain.tensors))
})
