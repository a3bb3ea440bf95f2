/** `train --imatrix`: the matrix of a file takes the place of one that is collected, and the file says where it is from. */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { TrainOptions } from '../../src/config/options.js'
import { openGguf } from '../../src/gguf/index.js'
import { makeImatrix } from '../../src/imatrix/make.js'
import { verifyFile } from '../../src/names/verify.js'
import { quantizeFile } from '../../src/quantize/ptq.js'
import { planTraining, train } from '../../src/train/train.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'

let folder: string
let input: string
let output: string
let imatrix: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-train-imatrix-'))
  ;[input, output, imatrix] = ['model', 'output', 'imatrix'].map((name) => join(folder, `${name}.gguf`))
  await writeTinyGguf(input, { layers: 2, width: 64, heads: 2, feedForward: 96 })
  await makeImatrix({ input, output: imatrix, tokens: 512, context: 64 })
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const small = {
  steps: 0,
  batch: 32,
  context: 16,
  tokens: 512,
  calibration: 0,
  validation: 64,
  selfWritten: 0,
}
const options = (more: Partial<TrainOptions> = {}): TrainOptions => ({
  ...{ input, output, type: 'Q4_0', ...small, imatrix },
  ...more,
})

/** The bytes of the tensors of a block. */
async function bytesOf(path: string): Promise<Map<string, Uint8Array>> {
  const gguf = await openGguf(path)
  const bytes = new Map<string, Uint8Array>()
  for (const tensor of gguf.tensors) bytes.set(tensor.name, await gguf.read(tensor))
  await gguf.close()
  return bytes
}

test('without training the better PTQ file is written, and the matrix is that of the file', async () => {
  const stages = new Set<string>()
  const { opponent, kinds } = await train(options({ onProgress: ({ stage }) => stages.add(stage) }))
  expect(stages).not.toContain('importance')
  const stock = join(folder, 'stock.gguf')
  await quantizeFile(input, stock, 'Q4_0', opponent === 'importance' ? { imatrix } : {})
  expect(await bytesOf(output)).toEqual(await bytesOf(stock))
  const gguf = await openGguf(output)
  await gguf.close()
  expect(gguf.metadata.string('quantize.imatrix.file')).toBe(imatrix)
  const { sources } = await verifyFile(output, { sources: [imatrix] })
  expect(sources).toMatchObject([{ role: 'model' }, { role: 'imatrix', state: 'same' }])
  expect(kinds.length).toBeGreaterThan(1)
})

test('a run that resumes needs the same matrix', async () => {
  const stop = new AbortController()
  const onProgress: TrainOptions['onProgress'] = ({ stage }) => stage === 'validate' && stop.abort()
  const begun = options({ steps: 2, calibration: 256 })
  await expect(train({ ...begun, onProgress, signal: stop.signal })).rejects.toThrow('stopped')
  const { imatrix: _, ...without } = begun
  await expect(planTraining({ ...without, resume: true })).rejects.toThrow(
    'another importance matrix (--imatrix)',
  )
})

test('the matrix is not written over', async () => {
  const before = await readFile(imatrix)
  await expect(train(options({ output: imatrix }))).rejects.toThrow('--imatrix')
  expect(await readFile(imatrix)).toEqual(before)
})

test('a matrix of another model is refused before any work', async () => {
  const other = join(folder, 'other.gguf')
  await writeTinyGguf(other, { layers: 2, width: 32, heads: 2, feedForward: 96 })
  await expect(planTraining(options({ input: other }))).rejects.toThrow('it is of another model')
  await expect(planTraining(options({ imatrix: input }))).rejects.toThrow(input)
})
