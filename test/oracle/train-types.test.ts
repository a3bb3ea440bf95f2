/** Training a file of mixed types: the plan of `quench quantize` gives each tensor its type, and libllama loads the file. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { TrainOptions } from '../../src/config/options.js'
import { sameOnResume } from '../../src/config/table.js'
import { openGguf } from '../../src/gguf/index.js'
import { checkLoads } from '../../src/llama/index.js'
import { quantizeFile } from '../../src/quantize/ptq.js'
import { planTraining, train } from '../../src/train/train.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'

let folder: string
let input: string
let output: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-train-types-'))
  ;[input, output] = ['model', 'output'].map((name) => join(folder, `${name}.gguf`))
  await writeTinyGguf(input, { layers: 2, width: 64, heads: 2, feedForward: 96 })
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const types = {
  tensorTypes: [
    { pattern: 'ATTN_v', type: 'q8_0' },
    { pattern: 'blk\\.0\\.ffn_down', type: 'Q5_1' },
    { pattern: 'ffn_gate', type: 'F16' },
  ],
  tokenEmbeddingType: 'Q5_0',
  leaveOutputTensor: true,
} as const
const small = {
  steps: 2,
  batch: 32,
  context: 16,
  tokens: 512,
  calibration: 256,
  validation: 64,
  selfWritten: 0,
}

async function typesOf(path: string): Promise<Record<string, number>> {
  const gguf = await openGguf(path)
  await gguf.close()
  return Object.fromEntries(gguf.tensors.map(({ name, type }) => [name, type]))
}

test.each([
  ['with steps', {}],
  ['block by block alone', { method: 'blockwise' }],
] as const)('%s', async (_, method) => {
  const options: TrainOptions = { input, output, type: 'Q4_0', ...types, ...small, ...method }
  const stock = join(folder, 'stock.gguf')
  await quantizeFile(input, stock, 'Q4_0', types)
  const { types: planned } = await planTraining(options)
  expect(planned).toMatchObject({ Q8_0: 2, Q5_1: 1, F16: 2, Q5_0: 1 })
  const { check, weights } = await train(options)
  expect(check.differing).toBe(0)
  expect(weights.untrained).toContain('output.weight')
  expect(await typesOf(output)).toEqual(await typesOf(stock))
  await checkLoads(output, 'run')
  const [made, source] = [await openGguf(output), await openGguf(input)]
  expect(await made.read(made.tensor('output.weight'))).toEqual(
    await source.read(source.tensor('output.weight')),
  )
  await made.close()
  await source.close()
})

test('PTQ of a type that takes no importances is validated once', async () => {
  const fits = join(folder, 'fits.gguf')
  await writeTinyGguf(fits, { layers: 2, width: 64, heads: 2, feedForward: 64 })
  const validated = async (type: string): Promise<number> => {
    let tokens = 0
    await train({
      ...{ input: fits, output: join(folder, `${type}.gguf`), type, ...small },
      method: 'blockwise',
      onProgress: ({ stage, done, total }) => {
        if (stage === 'validate' && done === total) tokens += total
      },
    })
    return tokens
  }
  const twice = await validated('Q4_0')
  expect(twice).toBeGreaterThan(0)
  expect(await validated('Q2_0')).toBe((2 / 3) * twice)
})

describe('is refused', () => {
  const refused = (more: Partial<TrainOptions>) =>
    expect(planTraining({ input, output, type: 'Q4_0', ...more })).rejects
  test('what does not train, fit or parse', async () => {
    await refused({ tensorTypes: [{ pattern: 'ffn', type: 'F32' }] }).toThrow(
      '--tensor-type ffn=F32: F32 cannot be trained; choose one of',
    )
    await refused({ outputTensorType: 'F32' }).toThrow('--output-tensor-type: F32 cannot be trained')
    await refused({ tokenEmbeddingType: 'Q4_K' }).toThrow(
      `'token_embd.weight' of ${input} has rows of 64, which Q4_K cannot cut into blocks of 256`,
    )
    await refused({ tensorTypes: [{ pattern: '(', type: 'Q8_0' }] }).toThrow('is not a regular expression')
  })
})

test('a resumed run must have the same types', () => {
  const of = (more: Partial<TrainOptions>) => sameOnResume({ input, output, type: 'Q4_0', ...more })
  expect(of(types)).toMatchObject({
    tensorTypes: 'ATTN_v=q8_0 blk\\.0\\.ffn_down=Q5_1 ffn_gate=F16',
    tokenEmbeddingType: 'Q5_0',
    leaveOutputTensor: true,
    pure: null,
  })
  expect(of({ pure: false, tensorTypes: [] })).toEqual(of({}))
})
