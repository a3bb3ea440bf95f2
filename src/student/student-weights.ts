/**
 * The weights of a student with one block in memory: the block's as they are given, and those outside the blocks as the
 * reference quantizer rounds them, made on demand.
 */
import type { Backend, DeviceBuffer, DeviceWeights } from '../backends/backend.js'
import { aboutTensors } from '../errors.js'
import { dequantizeRows, quantizeRows } from '../llama/index.js'
import type { Source } from './source.js'

/** The weights of a block: of trained and of frozen tensors. */
export interface BlockWeights {
  readonly parameters: readonly { readonly name: string; readonly weights: DeviceBuffer }[]
  readonly frozen: ReadonlyMap<string, DeviceBuffer>
}

export class StudentWeights implements DeviceWeights {
  private readonly block = new Map<string, DeviceBuffer>()

  /** @param outer the tensors outside the blocks made so far; students of one source may share it */
  constructor(
    private readonly backend: Backend,
    private readonly source: Source,
    private readonly types: ReadonlyMap<string, number>,
    private readonly outer = new Map<string, DeviceBuffer>(),
  ) {}

  /** Replaces the weights of the previous block by those of this one. */
  take({ parameters, frozen }: BlockWeights): void {
    this.block.clear()
    for (const p of parameters) this.block.set(p.name, p.weights)
    for (const [name, weights] of frozen) this.block.set(name, weights)
  }

  get(name: string): DeviceBuffer | undefined {
    const known = this.block.get(name) ?? this.outer.get(name)
    if (known) return known
    const full = this.source.weights.get(name)
    if (!full) return undefined
    const { shape } = this.source.gguf.tensor(name)
    const own = this.backend.upload(rounded(this.source, this.types, name, full, shape[0]))
    this.outer.set(name, own)
    return own
  }

  rows(name: string, tokens: Int32Array, columns: number): DeviceBuffer | undefined {
    const rows = roundedRows(this.source, this.types, name, tokens, columns)
    return rows && this.backend.upload(rows)
  }
}

/** The tokens' rows of a table, (tokens, columns), as the reference quantizer rounds them. */
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
