/** A tiny Llama of seeded random weights, without a file, for tests of training. */
import type { Backend } from '../../src/backends/backend.js'
import { GradientSum } from '../../src/engine/gradients.js'
import type { Architecture, ModelConfig } from '../../src/models/architecture.js'
import type { DecoderConfig } from '../../src/models/decoder.js'
import { llama } from '../../src/models/llama.js'
import { modelTensors } from '../../src/models/weights.js'
import { Random } from '../../src/random.js'
import { gaussian } from './gaussian.js'

interface TinyShape {
  readonly layers?: number
  readonly width?: number
  readonly vocabulary?: number
  readonly heads?: number
  readonly kvHeads?: number
  readonly headWidth?: number
  readonly feedForward?: number
  readonly tied?: boolean
  readonly biases?: ReadonlySet<string>
}

export function tinyConfig(shape: TinyShape = {}): DecoderConfig {
  const { layers = 2, width = 32, vocabulary = 96, heads = 4, kvHeads = 2, headWidth = 8 } = shape
  const { feedForward = 64, tied = false, biases = new Set() } = shape
  const block = {
    kind: 'global',
    attention: {
      heads,
      kvHeads,
      headWidth,
      rope: {
        pairs: 'neighbours' as const,
        frequencies: Float64Array.from({ length: headWidth / 2 }, (_, i) => 10_000 ** ((-2 * i) / headWidth)),
        magnitude: 1,
      },
      scale: 1 / Math.sqrt(headWidth),
    },
    feedForward,
  }
  return {
    architecture: 'llama',
    layers,
    width,
    vocabulary,
    context: 64,
    normEpsilon: 1e-5,
    tied,
    blocks: new Array(layers).fill(block),
    tensors: biases,
    embeddingScale: 1,
    logitCap: 0,
  }
}

/** Norms near 1, biases near 0, matrices that keep the size of what they multiply. */
export function tinyWeights<C extends ModelConfig>(
  config: C,
  seed: number,
  architecture: Architecture<C> = llama as unknown as Architecture<C>,
): Map<string, Float32Array> {
  const random = new Random(seed)
  const weights = new Map<string, Float32Array>()
  for (const [name, shape] of modelTensors(architecture, config)) {
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

/** Buffers of zeros for the gradients of all weights. */
export function zerosLike(
  backend: Backend,
  weights: ReadonlyMap<string, { readonly length: number }>,
): Map<string, GradientSum> {
  return new Map(Array.from(weights, ([name, { length }]) => [name, new GradientSum(backend, length)]))
}
