/** Quantizing a checkpoint whose weights lie on a grid keeps its codes; the stock quantizer does not. */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { cpu } from '../../src/backends/cpu/cpu.js'
import { formatNamed } from '../../src/formats/table.js'
import { openGguf } from '../../src/gguf/index.js'
import { keepBytes } from '../../src/lattice/index.js'
import { lostWarnings } from '../../src/lattice/keep.js'
import { quantizeModel, quantizeRows } from '../../src/llama/index.js'
import { readWeights } from '../../src/models/weights.js'
import { planQuantization } from '../../src/quantize/plan.js'
import { quantizeFile } from '../../src/quantize/ptq.js'
import { packedBytes } from '../../src/student/export.js'
import { openSource, targetTypes } from '../../src/student/source.js'
import { makeBlock } from '../../src/student/student.js'
import { conventions, differingCodes } from '../support/lattice-conventions.js'
import { differingIn, writeOnGrid } from '../support/lattice-file.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'

let folder: string
let model: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-'))
  model = join(folder, 'tiny.gguf')
  await writeTinyGguf(model)
})
afterAll(() => rm(folder, { recursive: true }))

const [symmetric] = conventions

test.each(['F32', 'BF16'] as const)('a file keeps the codes of a checkpoint stored as %s', async (as) => {
  const [checkpoint, output, stock] = ['c', 'o', 's'].map((name) => join(folder, `${name}-${as}.gguf`))
  const made = await writeOnGrid(model, checkpoint, symmetric, as)
  const { lattice, warnings } = await quantizeFile(checkpoint, output, 'Q4_0', { threads: 1 })
  expect(warnings).toEqual([])
  expect(lattice).toMatchObject({ matrices: made.size, left: 0, lost: [] })
  expect(lattice?.error).toBeLessThan(as === 'F32' ? 1e-7 : 2e-3)
  expect((await differingIn(output, made, differingCodes)).differing).toBe(0)
  await quantizeModel(checkpoint, stock, { type: 'Q4_0', threads: 1 }, [stock])
  const { differing, weights } = await differingIn(stock, made, differingCodes)
  expect(differing).toBeGreaterThan(weights / 20)
  // All else is the quantizer's.
  const [a, b] = [await openGguf(output), await openGguf(stock)]
  for (const tensor of a.tensors)
    if (!made.has(tensor.name)) expect(await a.read(tensor)).toEqual(await b.read(b.tensor(tensor.name)))
  await a.close()
  await b.close()
})

test.each(
  conventions.filter(({ type }) => formatNamed(type)?.latents).map((each) => [each.name, each] as const),
)('what training starts from is what a file of it holds: %s', async (_, convention) => {
  const checkpoint = join(folder, 'start.gguf')
  const made = await writeOnGrid(model, checkpoint, convention, 'F32')
  const source = await openSource(checkpoint)
  try {
    const { parameters } = await makeBlock(cpu, source, targetTypes(source, { type: convention.type }), 0)
    const check = { tensors: 0, weights: 0, differing: 0 }
    for (const p of parameters) await packedBytes(p, check)
    expect(check).toMatchObject({ tensors: made.size / 2, differing: 0 })
  } finally {
    await source.gguf.close()
  }
})

test('codes are kept in units of the scale of the tensor that the file holds', async () => {
  const convention = conventions.find(({ type }) => type === 'NVFP4')!
  const [checkpoint, output] = ['c', 'o'].map((name) => join(folder, `${name}-scaled.gguf`))
  const made = await writeOnGrid(model, checkpoint, convention, 'F32')
  const { lattice } = await quantizeFile(checkpoint, output, 'NVFP4', { threads: 1 })
  expect(lattice).toMatchObject({ matrices: made.size, left: 0 })
  const gguf = await openGguf(output)
  expect(gguf.tensors.some(({ name }) => name.endsWith('.scale'))).toBe(true)
  await gguf.close()
  expect((await differingIn(output, made, differingCodes)).differing).toBe(0)
})

test('layers that move up keep their own codes', async () => {
  const [checkpoint, output] = ['c', 'o'].map((name) => join(folder, `${name}-pruned.gguf`))
  const made = await writeOnGrid(model, checkpoint, symmetric, 'F32')
  const { lattice } = await quantizeFile(checkpoint, output, 'Q4_0', { threads: 1, pruneLayers: [0] })
  expect(lattice?.matrices).toBe(made.size / 2)
  const moved = Array.from(made).filter(([name]) => name.startsWith('blk.1.'))
  const grids = new Map(moved.map(([name, grid]) => [name.replace('blk.1.', 'blk.0.'), grid]))
  expect((await differingIn(output, grids, differingCodes)).differing).toBe(0)
})

test('a type that does not hold the grid is warned of, with one that does', async () => {
  const [checkpoint, output] = ['c', 'o'].map((name) => join(folder, `${name}-lost.gguf`))
  const made = await writeOnGrid(model, checkpoint, symmetric, 'F32')
  const { lattice, warnings } = await quantizeFile(checkpoint, output, 'IQ4_NL', { threads: 1 })
  expect(lattice?.matrices).toBe(0)
  expect(lattice?.lost.map(({ holder }) => holder)).toEqual(Array(made.size).fill('Q4_0'))
  expect(warnings).toEqual([
    expect.stringMatching(
      /and 11 more were quantized before, .* IQ4_NL does not hold their grid \(error up to \d+ %; Q4_0 would hold it\); if they were not trained so, start from the original weights$/,
    ),
  ])
  // A dry run says the same.
  expect((await planQuantization(checkpoint, 'IQ4_NL')).warnings).toEqual(warnings)
  expect((await planQuantization(checkpoint, 'Q4_0')).warnings).toEqual([])
})

test('one sentence warns of all types that do not hold the grid', () => {
  const lost = [
    { name: 'a', type: 'Q4_0', error: 0.1, holder: 'Q5_0' },
    { name: 'b', type: 'Q6_K', error: 0.15, holder: 'Q8_0' },
    { name: 'c', type: 'Q8_0', error: 0.01, holder: undefined },
  ] as const
  expect(lostWarnings('m.gguf', { lost } as never)).toEqual([
    'm.gguf: the weights of a, b were quantized before, as in a QAT checkpoint or a file that was made from a quantized one, and Q4_0, Q6_K does not hold their grid (error up to 15 %; Q5_0, Q8_0 would hold it); if they were not trained so, start from the original weights',
  ])
})

test('bytes of weights off a grid stay as they are', async () => {
  const gguf = await openGguf(model)
  const tensor = gguf.tensor('blk.0.ffn_up.weight')
  const weights = await readWeights(gguf, tensor)
  await gguf.close()
  const { type } = formatNamed('Q4_0')!
  const bytes = quantizeRows(type, weights, tensor.shape[0])
  expect(keepBytes(type, weights, tensor.shape[0], bytes)).toBe(bytes)
})
