/** Reads the tensors of a model as f32, from any format that quench knows. */
import { FileError } from '../errors.js'
import { formatOf } from '../formats/table.js'
import type { Gguf, TensorInfo } from '../gguf/index.js'
import { ggmlTypes } from '../gguf/index.js'
import type { Architecture, ModelConfig } from './architecture.js'

/** The weights of one tensor, rows one after another. */
export async function readWeights(gguf: Gguf, tensor: TensorInfo): Promise<Float32Array> {
  const format = formatOf(tensor.type)
  if (!format) {
    const name = ggmlTypes.get(tensor.type)?.name ?? tensor.type
    throw new FileError(
      gguf.path,
      `${tensor.name} is ${name}, which quench cannot train from; take an F16 or BF16 file`,
    )
  }
  return format.dequantize(format.decode(await gguf.read(tensor)))
}

/** Names and shapes, (out, in), of every tensor that a model computes with. */
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
  const weights = new Map<string, Float32Array>()
  for (const [name, shape] of modelTensors(architecture, config)) {
    const tensor = gguf.tensor(name)
    const wanted = shape.toReversed().join(' x ')
    const found = tensor.shape.join(' x ')
    if (found !== wanted) throw new FileError(gguf.path, `${name} has the shape ${found}, not ${wanted}`)
    weights.set(name, await readWeights(gguf, tensor))
  }
  return weights
}
