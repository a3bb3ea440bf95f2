/**
 * The weights of a student of which only one block is in memory: those of the block as they were given, and those outside the
 * blocks as the reference quantizer rounds them, made when they are needed.
 */
import { aboutTensors } from '../errors.js'
import { dequantizeRows, quantizeRows } from '../llama/index.js'
import type { Weights } from '../models/weights.js'
import type { Source } from './source.js'

/** The weights of a block: of what trains, and of what does not. */
export interface BlockWeights {
  readonly parameters: readonly { readonly name: string; readonly weights: Float32Array }[]
  readonly frozen: ReadonlyMap<string, Float32Array>
}

export class StudentWeights implements Weights {
  private readonly block = new Map<string, Float32Array>()

  /** @param outer the tensors outside the blocks, as far as they were made: the same for all students of a source that share it */
  constructor(
    private readonly source: Source,
    private readonly types: ReadonlyMap<string, number>,
    private readonly outer = new Map<string, Float32Array>(),
  ) {}

  /** Takes the weights of a block in place of those of the block before. */
  take({ parameters, frozen }: BlockWeights): void {
    this.block.clear()
    for (const p of parameters) this.block.set(p.name, p.weights)
    for (const [name, weights] of frozen) this.block.set(name, weights)
  }

  get(name: string): Float32Array | undefined {
    const known = this.block.get(name) ?? this.outer.get(name)
    if (known) return known
    const full = this.source.weights.get(name)
    if (!full) return undefined
    const { shape } = this.source.gguf.tensor(name)
    const own = rounded(this.source, this.types, name, full, shape[0])
    this.outer.set(name, own)
    return own
  }

  rows(name: string, tokens: Int32Array, columns: number): Float32Array | undefined {
    return roundedRows(this.source, this.types, name, tokens, columns)
  }
}

/** The rows of a table that the tokens choose, (tokens, columns), as the reference quantizer rounds them. */
export function roundedRows(
  source: Source,
  types: ReadonlyMap<string, number>,
  name: string,
  tokens: Int32Array,
  columns: number,
): Float32Array | undefined {
  const rows = source.weights.rows(name, tokens, columns)
  return rows && rounded(source, types, name, rows, columns)
}

function rounded(
  { gguf }: Source,
  types: ReadonlyMap<string, number>,
  name: string,
  weights: Float32Array,
  columns: number,
): Float32Array {
  const from = gguf.tensor(name).type
  const type = types.get(name) ?? from
  if (type === from) return weights
  try {
    return dequantizeRows(type, quantizeRows(type, weights, columns), weights.length)
  } catch (error) {
    throw aboutTensors(gguf.path, name, error)
  }
}
