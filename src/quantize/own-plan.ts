/** Plans of files that quench writes itself: the type of every tensor by its own recipes and the options for tensors, and the size. */
import { alignmentOf } from '../gguf/header.js'
import type { Gguf, Metadata } from '../gguf/index.js'
import { scaledTensors } from '../models/tensor-formats.js'
import { scaleTensor } from './by-recipe.js'
import { type TypeSettings, typeChoices } from './options.js'
import { planByRecipe } from './recipe-types.js'
import { type Conversion, sizeOf } from './size.js'

export { recipeMetadata } from './by-recipe.js'

/**
 * In the order of the file; for types of llama-quantize the same as it chooses.
 * @param importance whether there is an importance matrix
 */
export const planTypes = (
  gguf: Gguf,
  type: string,
  settings: TypeSettings,
  importance = false,
): Conversion[] =>
  planByRecipe(gguf, type, typeChoices(settings, importance)).map((tensor) => ({
    ...tensor,
    source: gguf.tensor(tensor.name),
  }))

/** Bytes of a file that quench writes. */
export function writtenSize(gguf: Gguf, tensors: readonly Conversion[], metadata: Metadata): number {
  const scaled = scaledTensors(gguf, tensors)
  const scaleOf = (tensor: Conversion): Conversion => {
    const { name, type, shape } = scaleTensor(tensor.name)
    return { ...tensor, name, type, source: { ...tensor.source, shape } }
  }
  const all = tensors.flatMap((tensor) => (scaled.has(tensor.name) ? [tensor, scaleOf(tensor)] : [tensor]))
  return sizeOf(gguf, all, metadata, alignmentOf(metadata), (shape) => shape)
}
