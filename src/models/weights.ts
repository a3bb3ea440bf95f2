/** The tensors of a model as f32, decoded from any format that quench knows, on demand. */
import { FileError } from '../errors.js'
import type { Format } from '../formats/format.js'
import { formatOf, unrounded } from '../formats/table.js'
import { scaleNames } from '../formats/tensor-scale.js'
import type { Gguf, TensorInfo } from '../gguf/index.js'
import { ggmlTypes } from '../gguf/index.js'
import type { Architecture, ModelConfig } from './architecture.js'

/** Weights by GGUF name, f32, row-major. */
export interface Weights {
  get(name: string): Float32Array | undefined
  /** The rows selected by tokens, (tokens, columns), of a table that is not held in memory. */
  rows?(name: string, tokens: Int32Array, columns: number): Float32Array | undefined
}

/** The format of a tensor. @throws FileError for one that cannot be read */
function readableFormat(gguf: Gguf, tensor: TensorInfo): Format {
  const format = formatOf(tensor.type)
  if (format) return format
  const name = ggmlTypes.get(tensor.type)?.name ?? tensor.type
  throw new FileError(
    gguf.path,
    `${tensor.name} is ${name}, which quench cannot train from; take an F16 or BF16 file`,
  )
}

/** The weights of one tensor, or of some of its rows. */
export async function readWeights(
  gguf: Gguf,
  tensor: TensorInfo,
  start?: number,
  length?: number,
): Promise<Float32Array> {
  const format = readableFormat(gguf, tensor)
  return format.dequantize(format.decode(await gguf.read(tensor, start, length)))
}

/** The scale of a whole tensor that a file holds beside it. @throws FileError for one that is no F32 number */
export function tensorScaleIn(gguf: Gguf, name: string): number | undefined {
  const scale = scaleNames(name).find((own) => gguf.has(own))
  if (scale === undefined) return undefined
  const tensor = gguf.tensor(scale)
  if (tensor.type !== unrounded.type || tensor.elements !== 1)
    throw new FileError(gguf.path, `${scale} is not one F32, which the scale of a tensor is`)
  return unrounded.dequantize(unrounded.decode(gguf.readSync(tensor)))[0]
}

/** Names and shapes, (out, in), of all tensors that a model computes with. */
export function modelTensors(
  architecture: Architecture,
  config: ModelConfig,
): Map<string, readonly number[]> {
  const shapes = new Map(
    Object.entries({
      ...architecture.tables(config),
      ...architecture.embedTensors(config),
      ...architecture.headTensors(config),
    }),
  )
  for (let layer = 0; layer < config.layers; layer++)
    for (const [name, shape] of Object.entries(architecture.blockTensors(config, layer)))
      shapes.set(`blk.${layer}.${name}`, shape)
  return shapes
}

/** All tensors that a model computes with, as f32. @throws FileError if one is missing or has another shape */
export async function readModel(
  gguf: Gguf,
  architecture: Architecture,
  config: ModelConfig,
): Promise<Map<string, Float32Array>> {
  const shapes = modelTensors(architecture, config)
  const file = new FileWeights(gguf, shapes)
  return new Map([...shapes.keys()].map((name) => [name, file.get(name) as Float32Array]))
}

function checkedTensor(gguf: Gguf, name: string, shape: readonly number[]): TensorInfo {
  const tensor = gguf.tensor(name)
  const wanted = shape.toReversed().join(' x ')
  const found = tensor.shape.join(' x ')
  if (found !== wanted) throw new FileError(gguf.path, `${name} has the shape ${found}, not ${wanted}`)
  return tensor
}

/**
 * The weights of a file. The most recently used are cached, up to a number of bytes; a larger tensor is cached alone. A read
 * blocks the caller.
 */
export class FileWeights implements Weights {
  private readonly kept = new Map<string, Float32Array>()
  private bytes = 0
  /** Limit of cached bytes. */
  most = Number.POSITIVE_INFINITY

  /** @throws FileError if a tensor is missing, has another shape or an unknown format */
  constructor(
    private readonly gguf: Gguf,
    shapes: ReadonlyMap<string, readonly number[]>,
  ) {
    for (const [name, shape] of shapes) readableFormat(gguf, checkedTensor(gguf, name, shape))
  }

  get(name: string): Float32Array | undefined {
    const known = this.kept.get(name)
    if (known) {
      this.kept.delete(name) // move to the end of the order
      this.kept.set(name, known)
      return known
    }
    if (!this.gguf.has(name)) return undefined
    const tensor = this.gguf.tensor(name)
    this.makeRoom(4 * tensor.elements)
    const format = readableFormat(this.gguf, tensor)
    const values = this.scaled(name, format.dequantize(format.decode(this.gguf.readSync(tensor))))
    this.kept.set(name, values)
    this.bytes += values.byteLength
    return values
  }

  rows(name: string, tokens: Int32Array, columns: number): Float32Array | undefined {
    if (this.kept.has(name) || !this.gguf.has(name)) return undefined
    const tensor = this.gguf.tensor(name)
    const format = readableFormat(this.gguf, tensor)
    if (columns % format.blockSize !== 0) return undefined
    const rowBytes = (columns / format.blockSize) * format.blockBytes
    const rows = new Float32Array(tokens.length * columns)
    for (const [i, token] of tokens.entries()) {
      if (token < 0 || (token + 1) * rowBytes > tensor.bytes)
        throw new RangeError(`no row for token ${token}`)
      rows.set(
        format.dequantize(format.decode(this.gguf.readSync(tensor, token * rowBytes, rowBytes))),
        i * columns,
      )
    }
    return rows
  }

  /** Times the scale of the tensor; without one, as they are. */
  private scaled(name: string, weights: Float32Array): Float32Array {
    const scale = tensorScaleIn(this.gguf, name)
    return scale === undefined ? weights : weights.map((w) => w * scale)
  }

  private makeRoom(bytes: number): void {
    for (const [name, values] of this.kept) {
      if (this.bytes + bytes <= this.most) break
      this.kept.delete(name)
      this.bytes -= values.byteLength
    }
  }
}
