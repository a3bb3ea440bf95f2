/** The hyperparameters of the model that ships: rows of every matrix are divisible by 256, so that K-quants apply. */
import type { LlamaConfig } from '../../src/models/llama.js'

export const shippedConfig: LlamaConfig = {
  architecture: 'llama',
  layers: 5,
  width: 256,
  vocabulary: 2048,
  context: 512,
  normEpsilon: 1e-5,
  tied: true,
  heads: 4,
  kvHeads: 2,
  headWidth: 64,
  feedForward: 768,
  rope: { frequencies: Float64Array.from({ length: 32 }, (_, i) => 10_000 ** (-i / 32)), magnitude: 1 },
  biases: new Set(),
}
