/** The model that is to be trained: its file, architecture and weights, and the type each tensor gets. */
import { UsageError } from '../errors.js'
import { assignTypes, type ModelFacts, recipes } from '../formats/recipes.js'
import { formatOf } from '../formats/table.js'
import { type Gguf, openGguf } from '../gguf/index.js'
import { dequantizeRows, quantizeRowsAsync } from '../llama/index.js'
import type { Architecture, ModelConfig } from '../models/architecture.js'
import { fingerprint } from '../models/fingerprint.js'
import { architectureOf } from '../models/table.js'
import { FileWeights, modelTensors, type Weights } from '../models/weights.js'
import { Parameter } from './parameter.js'

/** An architecture with the numbers of a model. */
export interface Model {
  readonly architecture: Architecture
  readonly config: ModelConfig
}

export interface Source extends Model {
  readonly gguf: Gguf
  /** Identifies the file's contents. */
  readonly fingerprint: string
  /** The full-precision weights by name: the teacher. */
  readonly weights: Weights
}

/**
 * Opens a model; its weights are read when they are needed.
 * @param keep most bytes of weights that are kept in memory
 * @throws FileError if it is damaged or of an architecture not known
 */
export async function openSource(path: string, keep?: (model: Model) => number): Promise<Source> {
  const gguf = await openGguf(path)
  try {
    const architecture = architectureOf(gguf)
    const config = await architecture.read(gguf)
    const shapes = modelTensors(architecture, config)
    const weights = new FileWeights(gguf, shapes, keep?.({ architecture, config }))
    return { gguf, architecture, config, fingerprint: await fingerprint(gguf), weights }
  } catch (error) {
    await gguf.close()
    throw error
  }
}

/** The recipes that have something to learn. */
const trainableTypes: readonly string[] = Object.keys(recipes).filter(
  (name) => formatOf(recipes[name].type)?.fakeQuantize,
)

/** @throws UsageError for a recipe that cannot be trained */
export function checkTrainable(recipe: string): void {
  if (!trainableTypes.includes(recipe))
    throw new UsageError(`--type ${recipe} cannot be trained; choose one of ${trainableTypes.join(', ')}`)
}

/** The ggml type of every tensor of the file in a recipe. */
export const targetTypes = ({ gguf }: Source, recipe: string): Map<string, number> =>
  assignTypes(recipe, modelFacts(gguf), gguf.tensors)

function modelFacts({ metadata }: Gguf): ModelFacts {
  const architecture = metadata.string('general.architecture')
  const first = (key: string, fallback: number): number => {
    const full = `${architecture}.${key}`
    return metadata.get(full)?.type === 'array'
      ? (metadata.numbers(full)[0] ?? fallback)
      : metadata.number(full, fallback)
  }
  const heads = first('attention.head_count', 1)
  return {
    architecture,
    layers: metadata.number(`${architecture}.block_count`),
    heads,
    headsKv: first('attention.head_count_kv', heads),
    experts: metadata.number(`${architecture}.expert_count`, 0),
  }
}

export interface Student {
  /** What trains, in the order of the model. */
  readonly parameters: Parameter[]
  /** Weights of matrices whose type has nothing to train (F16, for rows that no block divides), as ggml rounds them. */
  readonly frozen: Map<string, Float32Array>
}

/** Quantizes the model with the reference quantizer and makes a parameter of every tensor that can be trained. */
export const makeStudent = (source: Source, types: ReadonlyMap<string, number>): Promise<Student> =>
  studentOf(source, types, modelTensors(source.architecture, source.config))

/** The same of one block. */
export function makeBlock(
  source: Source,
  types: ReadonlyMap<string, number>,
  layer: number,
): Promise<Student> {
  const shapes = Object.entries(source.architecture.blockTensors(source.config, layer))
  return studentOf(source, types, new Map(shapes.map(([name, shape]) => [`blk.${layer}.${name}`, shape])))
}

async function studentOf(
  source: Source,
  types: ReadonlyMap<string, number>,
  shapes: ReadonlyMap<string, readonly number[]>,
): Promise<Student> {
  const parameters: Parameter[] = []
  const frozen = new Map<string, Float32Array>()
  for (const [name, shape] of shapes) {
    const weights = source.weights.get(name) as Float32Array
    const type = types.get(name) ?? source.gguf.tensor(name).type
    const format = formatOf(type)
    if (format?.name === 'F32') parameters.push(Parameter.plain(name, shape, weights.slice()))
    else {
      const bytes = await quantizeRowsAsync(type, weights, shape.at(-1) as number)
      if (format?.latents)
        parameters.push(Parameter.quantized(name, shape, format, weights, format.decode(bytes)))
      else frozen.set(name, dequantizeRows(type, bytes, weights.length))
    }
  }
  return { parameters, frozen }
}
