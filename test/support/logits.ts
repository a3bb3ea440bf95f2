/** The logits of a model file, by quench's own forward pass and by libllama. */

import { cpu } from '../../src/backends/cpu/cpu.js'
import { Network } from '../../src/engine/network.js'
import { openGguf } from '../../src/gguf/index.js'
import { LlamaContext, LlamaModel } from '../../src/llama/index.js'
import { architectureOf } from '../../src/models/table.js'
import { readModel } from '../../src/models/weights.js'
import { Random } from '../../src/random.js'
import { deviceWeights } from './device.js'

/** Random tokens in windows of `length`, one after another. */
export function randomTokens(count: number, vocabulary: number, seed: number): Int32Array {
  const random = new Random(seed)
  return Int32Array.from({ length: count }, () => random.int(vocabulary))
}

/** Logits (tokens, vocabulary) of windows of `length` tokens by quench, from the dequantized weights of the file. */
export async function ownLogits(path: string, tokens: Int32Array, length: number): Promise<Float32Array> {
  const gguf = await openGguf(path)
  try {
    const architecture = architectureOf(gguf)
    const config = await architecture.read(gguf)
    const weights = deviceWeights(await readModel(gguf, architecture, config))
    const network = new Network(cpu, architecture, config, { windows: tokens.length / length, length })
    await network.forward(tokens, weights)
    const logits = await network.logits(weights)
    await network.dispose()
    return logits
  } finally {
    await gguf.close()
  }
}

/** The same by libllama, with keys and values kept in f32 and no flash attention: nothing but the weights is rounded. */
export async function llamaLogits(path: string, tokens: Int32Array, length: number): Promise<Float32Array> {
  using model = await LlamaModel.load(path)
  using context = await LlamaContext.create(model, {
    contextSize: Math.max(256, length),
    kvType: 'f32',
    flashAttention: 'off',
  })
  const logits = new Float32Array(tokens.length * model.vocabSize)
  for (let start = 0; start < tokens.length; start += length) {
    context.clear()
    await context.decode(tokens.subarray(start, start + length), { logits: 'all' })
    logits.set(context.logits(), start * model.vocabSize)
  }
  return logits
}

/** Normalized squared error of a against b: sum((a - b)^2) / sum(b^2). */
export function nmse(a: Float32Array, b: Float32Array): number {
  if (a.length !== b.length) throw new RangeError(`${a.length} and ${b.length} values`)
  let [error, total] = [0, 0]
  for (let i = 0; i < a.length; i++) {
    error += (a[i] - b[i]) ** 2
    total += b[i] ** 2
  }
  return error / total
}
