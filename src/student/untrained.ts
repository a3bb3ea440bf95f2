/**
 * Matrices with a row for each token of the vocabulary: embeddings and the output matrix. They have six bits and more in most files,
 * so they lose little, and if the vocabulary is large they take most of a step: the product for the gradient of the output matrix,
 * and a pass of the optimizer over every row, few of which occur in a step. A run can leave them as the reference quantizer makes
 * them.
 */
import { formatOf } from '../formats/table.js'
import { modelTensors } from '../models/weights.js'
import type { Model } from './source.js'

/** Whether they train; `auto`: unless they cost more than they gain, or do not fit in memory. */
export type EmbeddingChoice = 'yes' | 'no' | 'auto'

/**
 * Share of all weights in these matrices above which one is left out (LOG.md): at eight bits, with nothing to gain; at six bits,
 * with little to gain; and, at any number of bits, if it is a table for row lookups only, of which a run sees few rows.
 */
const largeShares = { eightBits: 1 / 3, sixBits: 0.6, table: 1 / 3 }

/** Weights of each matrix of the vocabulary, by name. */
export function vocabularyMatrices({ architecture, config }: Model): Map<string, number> {
  const shapes = Object.entries({ ...architecture.tables(config), ...architecture.headTensors(config) })
  const matrices = shapes.filter(([, shape]) => shape.length === 2 && shape[0] === config.vocabulary)
  return new Map(matrices.map(([name, [rows, columns]]) => [name, rows * columns]))
}

/**
 * The sets of matrices that a run may leave untrained, the preferred one first; the others are for too little memory.
 * @param types ggml_type of every tensor in the file to be written
 */
export function untrainedSets(
  model: Model,
  types: ReadonlyMap<string, number>,
  choice: EmbeddingChoice,
): ReadonlySet<string>[] {
  const none = new Set<string>()
  const matrices = vocabularyMatrices(model)
  const all = new Set(matrices.keys())
  if (choice !== 'auto') return [choice === 'yes' ? none : all]
  const weights = [...modelTensors(model.architecture, model.config).values()]
  const total = weights.reduce((n, shape) => n + shape.reduce((size, d) => size * d, 1), 0)
  const share = [...matrices.values()].reduce((a, b) => a + b, 0) / total
  const head = model.architecture.headTensors(model.config)
  const largeShare = (name: string): number => {
    const bits = bitsOf(types.get(name))
    if (bits >= 8) return largeShares.eightBits
    if (!(name in head) && (matrices.get(name) ?? 0) > largeShares.table * total) return 0
    return bits >= 6 ? largeShares.sixBits : 1
  }
  const spared = new Set([...all].filter((name) => share > largeShare(name)))
  return spared.size < all.size ? [spared, all] : [all]
}

/** Bits per weight of a type; 32 for an unknown type. */
function bitsOf(type: number | undefined): number {
  const format = type === undefined ? undefined : formatOf(type)
  return format ? (8 * format.blockBytes) / format.blockSize : 32
}
