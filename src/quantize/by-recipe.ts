/**
 * Files by the recipes of formats/recipes.ts: the bytes of a model's tensors by ggml's quantizer, and a file of them. So
 * PTQ is done where llama.cpp has no file type for a recipe, and so trained files get the tensors that did not train.
 */
import { aboutTensors } from '../errors.js'
import { recipes } from '../formats/recipes.js'
import { unrounded } from '../formats/table.js'
import { scaleNameOf } from '../formats/tensor-scale.js'
import {
  createGguf,
  type Gguf,
  type GgufContent,
  type GgufValue,
  Metadata,
  openGguf,
  type TensorInfo,
} from '../gguf/index.js'
import { keepBytes } from '../lattice/index.js'
import { rowSize } from '../llama/ggml.js'
import { scaledTensors, scaleFor } from '../models/tensor-formats.js'
import { readWeights } from '../models/weights.js'
import { referenceRows } from './reference-rows.js'
import { SearchThreads } from './search/rows.js'

/** The metadata of a file for what is made of it by a recipe. @param added to it, or instead of what is there */
export function recipeMetadata(
  gguf: Gguf,
  output: string,
  recipe: string,
  added: ReadonlyMap<string, GgufValue> = new Map(),
): Metadata {
  const metadata = new Metadata(output, gguf.metadata)
    .set('general.file_type', { type: 'uint32', value: recipes[recipe].fileType })
    .set('general.quantization_version', { type: 'uint32', value: 2 })
  for (const [key, value] of added) metadata.set(key, value)
  return metadata
}

/** Bytes of f32 that a conversion holds at once. */
const conversionBytes = 64 << 20

/** How tensors are converted. */
export interface ConversionOptions {
  /** Mean squares of what the matrices read; those of experts one after another. */
  readonly importance?: ReadonlyMap<string, Float32Array> | undefined
  /** By default as many as may be used. */
  readonly threads?: number | undefined
  /** Whether to search for the best scales and codes (search/) instead of taking those of ggml's own quantizer. */
  readonly search?: boolean | undefined
}

/** Converts tensors of a file. Its threads end with `dispose`. */
export class TensorConverter {
  private readonly searching: SearchThreads | undefined

  constructor(
    private readonly gguf: Gguf,
    private readonly options: ConversionOptions,
  ) {
    if (options.search) this.searching = new SearchThreads(options.threads)
  }

  /**
   * Bytes of a tensor in another type, with the codes of weights that lie on a grid already; the same bytes if the
   * type is the same.
   * @param scale of the tensor, by which the weights are divided first
   */
  async bytes(tensor: TensorInfo, type: number, scale = 1): Promise<Uint8Array> {
    const { gguf } = this
    if (tensor.type === type) return gguf.read(tensor)
    const importance = this.options.importance?.get(tensor.name)
    const columns = tensor.shape[0]
    const rows = tensor.elements / columns
    const [from, to] = [tensor.bytes / rows, rowSize(type, columns)]
    const bytes = new Uint8Array(rows * to)
    const step = Math.max(1, Math.floor(conversionBytes / (4 * columns)))
    // Each matrix of a stack of experts has importances of its own.
    const matrix = importance === undefined ? rows : rows / (importance.length / columns)
    for (let row = 0; row < rows; ) {
      const expert = Math.floor(row / matrix)
      const count = Math.min(step, (expert + 1) * matrix - row)
      const read = await readWeights(gguf, tensor, row * from, count * from)
      const weights = scale === 1 ? read : read.map((w) => w / scale)
      const own = importance?.subarray(expert * columns, (expert + 1) * columns)
      const converted = await this.quantize(type, weights, columns, own).catch((error: unknown) => {
        throw aboutTensors(gguf.path, tensor.name, error)
      })
      bytes.set(keepBytes(type, weights, columns, converted), row * to)
      row += count
    }
    return bytes
  }

  /** @param importance of each column */
  private quantize(
    type: number,
    weights: Float32Array,
    columns: number,
    importance: Float32Array | undefined,
  ): Promise<Uint8Array> {
    return this.searching
      ? this.searching.quantize(type, weights, columns, importance)
      : referenceRows(type, weights, columns, importance, this.options.threads)
  }

  async dispose(): Promise<void> {
    await this.searching?.dispose()
  }
}

/** The tensor that holds the scale of another. */
export const scaleTensor = (name: string) => ({
  name: scaleNameOf(name) as string,
  shape: [1],
  type: unrounded.type,
})

/** Where the bytes of tensors come from. */
export interface TensorBytes extends ConversionOptions {
  /** The bytes of a tensor that were made before; undefined for one that is to be converted. */
  readonly made?: (name: string) => Promise<Uint8Array | undefined>
  /** Called after each tensor with the bytes of all tensors so far. */
  readonly onBytes?: ((bytes: number) => void) | undefined
  /** Metadata that is known only once the data is. */
  readonly late?: GgufContent['late']
}

/** Writes the tensors of `gguf` to `output` with the given metadata and a type for each. */
export async function writeTyped(
  gguf: Gguf,
  output: string,
  metadata: Metadata,
  types: ReadonlyMap<string, number>,
  { made, onBytes, late, ...conversion }: TensorBytes,
): Promise<void> {
  const tensors = gguf.tensors.map((t) => ({
    name: t.name,
    shape: t.shape,
    type: types.get(t.name) ?? t.type,
    source: t,
  }))
  const scaled = scaledTensors(gguf, tensors)
  const placed = tensors.flatMap((t) => (scaled.has(t.name) ? [t, scaleTensor(t.name)] : [t]))
  const converter = new TensorConverter(gguf, conversion)
  const writer = await createGguf(output, { metadata, tensors: placed, ...(late && { late }) })
  let written = 0
  try {
    for (const [i, tensor] of gguf.tensors.entries()) {
      const { name } = tensor
      const scale = scaled.has(name) ? await scaleFor(gguf, tensor, tensors[i].type) : 1
      const bytes = (await made?.(name)) ?? (await converter.bytes(tensor, tensors[i].type, scale))
      await writer.write(name, bytes)
      if (scaled.has(name))
        await writer.write(scaleTensor(name).name, unrounded.encode({ w: Float32Array.of(scale) }))
      written += bytes.length
      onBytes?.(written)
    }
    await writer.finish()
  } catch (error) {
    await writer.abort()
    throw error
  } finally {
    await converter.dispose()
  }
}

/** Quantizes a file by a recipe to given types. @param added metadata, as `recipeMetadata` takes it */
export async function quantizeByRecipe(
  input: string,
  output: string,
  recipe: string,
  types: ReadonlyMap<string, number>,
  added: ReadonlyMap<string, GgufValue>,
  bytes: TensorBytes,
): Promise<void> {
  const gguf = await openGguf(input)
  try {
    await writeTyped(gguf, output, recipeMetadata(gguf, output, recipe, added), types, bytes)
  } finally {
    await gguf.close()
  }
}
