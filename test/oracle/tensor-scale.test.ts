/** Scales of whole tensors: libllama multiplies by them as our graph does, and small weights lose less with them. */
import { statSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest'
import { NVFP4 } from '../../src/formats/types/nvfp4.js'
import { createGguf, openGguf } from '../../src/gguf/index.js'
import { quantizeRows } from '../../src/llama/index.js'
import { FileWeights } from '../../src/models/weights.js'
import { planQuantization } from '../../src/quantize/plan.js'
import { quantizeFile } from '../../src/quantize/ptq.js'
import { Random } from '../../src/random.js'
import { train } from '../../src/train/train.js'
import { gaussian } from '../support/gaussian.js'
import { llamaLogits, nmse, ownLogits, randomTokens } from '../support/logits.js'
import { tinyVocabulary } from '../support/tiny-gguf.js'
import { type TinyVariant, writeTinyVariant } from '../support/tiny-models.js'

let folder: string
let input: string
let output: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-tensor-scale-'))
  ;[input, output] = ['model', 'output'].map((name) => join(folder, `${name}.gguf`))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

/** Names of the matrices of the first block that have a scale. */
async function scaledOf(path: string): Promise<string[]> {
  const gguf = await openGguf(path)
  await gguf.close()
  const names = gguf.tensors.flatMap(({ name }) => /^blk\.0\.(.+)\.scale$/.exec(name)?.[1] ?? [])
  return names.toSorted()
}

const attention = ['attn_k', 'attn_output', 'attn_q', 'attn_v']
const feedForward = ['ffn_down', 'ffn_gate', 'ffn_up']
const biases = ['attn_q', 'attn_k', 'attn_v'].map((name) => `blk.0.${name}`)
const gemma4 = { slides: [true, false], headWidthSliding: 16 }
const cases: readonly (readonly [TinyVariant, readonly string[]])[] = [
  [{ architecture: 'llama' }, [...attention, ...feedForward]],
  [{ architecture: 'qwen2', biases }, attention],
  [{ architecture: 'qwen3' }, [...attention, ...feedForward]],
  [{ architecture: 'smollm3' }, attention],
  [{ architecture: 'gemma3' }, attention],
  [{ architecture: 'gemma4', gemma4 }, [...attention, ...feedForward]],
]

describe.each(cases)('$architecture', (variant, scaled) => {
  test('libllama reads the scales of all matrices that get one', async () => {
    await writeTinyVariant(input, { ...variant, feedForward: 128 })
    const { bytes } = await planQuantization(input, 'NVFP4')
    await quantizeFile(input, output, 'NVFP4')
    expect(await scaledOf(output)).toEqual(scaled)
    expect(statSync(output).size).toBe(bytes)
    const tokens = randomTokens(64, tinyVocabulary, 3)
    // Activations are rounded to eight bits there. Without one of the scales the error is above .1.
    expect(nmse(await ownLogits(output, tokens, 32), await llamaLogits(output, tokens, 32))).toBeLessThan(
      5e-3,
    )
  })
})

describe('NVFP4 with a scale', () => {
  const scale = 2 ** -7
  const scaled = NVFP4.withTensorScale?.(scale)
  const bytes = quantizeRows(NVFP4.type, gaussian(new Random(7), 64 * 64), 64)

  it('has the same bytes, and weights that are so many times as large', () => {
    if (!scaled) throw new Error('no scale')
    const codes = scaled.decode(bytes)
    expect(scaled.encode(codes)).toEqual(NVFP4.encode(NVFP4.decode(bytes)))
    expect(scaled.dequantize(codes)).toEqual(NVFP4.dequantize(NVFP4.decode(bytes)).map((w) => scale * w))
  })

  it('loses less of small weights', async () => {
    const name = 'blk.0.ffn_up.weight'
    await writeTinyVariant(input, { architecture: 'llama', feedForward: 128 })
    const gguf = await openGguf(input)
    const small = join(folder, 'small.gguf')
    const writer = await createGguf(small, { metadata: gguf.metadata, tensors: gguf.tensors })
    for (const t of gguf.tensors) {
      const bytes = await gguf.read(t)
      const values = new Float32Array(bytes.slice().buffer)
      const out = t.shape.length > 1 ? values.map((w) => w * 0.02) : values
      await writer.write(t.name, new Uint8Array(out.buffer))
    }
    await writer.finish()
    await gguf.close()
    await quantizeFile(small, output, 'NVFP4')
    const [before, after] = [await openGguf(small), await openGguf(output)]
    const shapes = new Map([[name, [128, 64]]])
    const full = new FileWeights(before, shapes).get(name) as Float32Array
    const own = new FileWeights(after, shapes).get(name) as Float32Array
    await Promise.all([before.close(), after.close()])
    const without = NVFP4.dequantize(NVFP4.decode(quantizeRows(NVFP4.type, full, 64)))
    expect(nmse(own, full)).toBeLessThan(0.9 * nmse(without, full))
  })
})

test('training writes the scales that it trained with', async () => {
  await writeTinyVariant(input, { architecture: 'llama', feedForward: 128 })
  const small = {
    steps: 2,
    batch: 32,
    context: 16,
    tokens: 512,
    calibration: 256,
    validation: 64,
    selfWritten: 0,
  }
  const { check } = await train({ input, output, type: 'NVFP4', ...small })
  expect(check.differing).toBe(0)
  expect(await scaledOf(output)).toEqual([...attention, ...feedForward])
})
