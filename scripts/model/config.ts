/** The hyperparameters of the shipped model: rows of every matrix are divisible by 256, so that K-quants apply. */
import type { BlockConfig, DecoderConfig } from '../../src/models/decoder.js'

const layers = 5
const headWidth = 64
const block: BlockConfig = {
  kind: 'global',
  attention: {
    heads: 4,
    kvHeads: 2,
    headWidth,
    rope: {
      pairs: 'neighbours',
      frequencies: Float64Array.from({ length: headWidth / 2 }, (_, i) => 10_000 ** ((-2 * i) / headWidth)),
      magnitude: 1,
    },
    scale: 1 / Math.sqrt(headWidth),
  },
  feedForward: 768,
}

export const shippedConfig: DecoderConfig = {
  architecture: 'llama',
  layers,
  width: 256,
  vocabulary: 2048,
  context: 512,
  normEpsilon: 1e-5,
  tied: true,
  blocks: new Array<BlockConfig>(layers).fill(block),
  tensors: new Set(),
  embeddingScale: 1,
  logitCap: 0,
}
