/** A tiny Llama of seeded random weights, without a file, for tests of training. */
import { type LlamaConfig, llama } from '../../src/models/llama.js'
import { modelTensors } from '../../src/models/weights.js'
import { Random } from '../../src/random.js'
import { gaussian } from './gaussian.js'

export function tinyConfig(changes: Partial<LlamaConfig> = {}): LlamaConfig {
  const headWidth = changes.headWidth ?? 8
  return {
    architecture: 'llama',
    layers: 2,
    width: 32,
    vocabulary: 96,
    context: 64,
    normEpsilon: 1e-5,
    tied: false,
    heads: 4,
    kvHeads: 2,
    headWidth,
    feedForward: 64,
    rope: {
      frequencies: Float64Array.from({ length: headWidth / 2 }, (_, i) => 10_000 ** ((-2 * i) / headWidth)),
      magnitude: 1,
    },
    biases: new Set(),
    ...changes,
  }
}

/** Norms near 1, biases near 0, matrices that keep the size of what they multiply. */
export function tinyWeights(config: LlamaConfig, seed: number): Map<string, Float32Array> {
  const random = new Random(seed)
  const weights = new Map<string, Float32Array>()
  for (const [name, shape] of modelTensors(llama, config)) {
    const size = shape.reduce((n, d) => n * d, 1)
    if (name.endsWith('.bias')) weights.set(name, gaussian(random, size, 0.1))
    else if (shape.length === 1)
      weights.set(
        name,
        gaussian(random, size, 0.1).map((x) => 1 + x),
      )
    else weights.set(name, gaussian(random, size, 1 / Math.sqrt(shape[1])))
  }
  return weights
}

/** Arrays of zeros for the gradients of all weights. */
export function zerosLike(weights: ReadonlyMap<string, Float32Array>): Map<string, Float32Array> {
  return new Map(Array.from(weights, ([name, values]) => [name, new Float32Array(values.length)]))
}
