/** The model that is to be trained: its file, architecture and weights, and the type each tensor gets. */
import { aboutTensors, FileError, UsageError } from '../errors.js'
import { checkScales } from '../formats/grids.js'
import { assignTypes, type ModelFacts, recipes } from '../formats/recipes.js'
import { formatOf } from '../formats/table.js'
import { type Gguf, openGguf } from '../gguf/index.js'
import { headerProblems } from '../gguf/problems.js'
import { summarize } from '../gguf/summary.js'
import { checkLoads, dequantizeRows, quantizeRowsAsync } from '../llama/index.js'
import type { Architecture, ModelConfig } from '../models/architecture.js'
import { fingerprint } from '../models/fingerprint.js'
import { architectureOf } from '../models/table.js'
import { FileWeights, modelTensors, type Weights } from '../models/weights.js'
import { Parameter } from '../optimizer/parameter.js'
import { readInputWeights } from '../quantize/input-weights.js'
import { roundedRows } from './student-weights.js'

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
  readonly weights: FileWeights
}

/**
 * Opens a model; its weights are read when they are needed.
 * @throws FileError if it is damaged or of an architecture not known
 */
export async function openSource(path: string): Promise<Source> {
  const gguf = await openGguf(path)
  try {
    const [problem] = headerProblems(gguf)
    if (problem !== undefined) throw new FileError(path, problem)
    const architecture = architectureOf(gguf)
    const config = await architecture.read(gguf)
    const shapes = modelTensors(architecture, config)
    const weights = new FileWeights(gguf, shapes)
    return { gguf, architecture, config, fingerprint: await fingerprint(gguf), weights }
  } catch (error) {
    await gguf.close()
    throw error
  }
}

/** The recipes that have something to learn. */
const trainableTypes: readonly string[] = Object.keys(recipes).filter(
  (name) => formatOf(recipes[name].type)?.latents,
)

/** @throws UsageError for a recipe that cannot be trained */
export function checkTrainable(recipe: string): void {
  if (!trainableTypes.includes(recipe))
    throw new UsageError(`--type ${recipe} cannot be trained; choose one of ${trainableTypes.join(', ')}`)
}

/**
 * @returns a warning of weights that quantize badly
 * @throws FileError for a file that llama.cpp cannot load, that is quantized already, or whose weights are not all finite
 */
export async function checkSource({ gguf }: Source, type: string): Promise<string | undefined> {
  const { path } = gguf
  const summary = await summarize(gguf)
  if (summary.quantized)
    throw new FileError(
      path,
      `it is quantized already (${summary.type}); train from the full-precision file (F16, BF16 or F32)`,
    )
  await checkLoads(path, 'load')
  const { problem, warning } = await readInputWeights(path, type)
  if (problem !== undefined) throw new FileError(path, problem)
  return warning
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

/** Mean squares of what the matrices read, (in), by tensor. */
export type Importance = ReadonlyMap<string, Float32Array>

export interface Student {
  /** What trains, in the order of the model. */
  readonly parameters: Parameter[]
  /**
   * Weights of matrices that do not train, as ggml rounds them: those left out, and those whose type has nothing to train (F16, for
   * rows that no block divides).
   */
  readonly frozen: Map<string, Float32Array>
}

/** A student with all of its weights. */
export interface WholeStudent extends Student {
  /** As the forward pass uses them. */
  readonly weights: Weights
}

/**
 * Quantizes the model with the reference quantizer and makes a parameter of every tensor that can be trained.
 * @param untrained tensors that are only quantized; tables among them that the head does not read are not held at all, their rows
 * are rounded when tokens choose them
 * @param importance mean squares of what the matrices read
 */
export async function makeStudent(
  source: Source,
  types: ReadonlyMap<string, number>,
  untrained: ReadonlySet<string> = new Set(),
  importance?: Importance,
): Promise<WholeStudent> {
  const { architecture, config } = source
  const byRows = new Set(rowTables(source, untrained))
  const shapes = [...modelTensors(architecture, config)].filter(([name]) => !byRows.has(name))
  const { parameters, frozen } = await studentOf(source, types, new Map(shapes), untrained, importance)
  const whole = new Map([...frozen, ...parameters.map((p) => [p.name, p.weights] as const)])
  const weights: Weights = {
    get: (name) => whole.get(name),
    rows: (name, tokens, columns) =>
      byRows.has(name) ? roundedRows(source, types, name, tokens, columns) : undefined,
  }
  return { parameters, frozen, weights }
}

/** Tables that do not train and that nothing reads but tokens that choose rows. */
export const rowTables = ({ architecture, config }: Model, untrained: ReadonlySet<string>): string[] =>
  Object.keys(architecture.tables(config)).filter(
    (name) => untrained.has(name) && !(name in architecture.headTensors(config)),
  )

/** Gives a parameter the codes of the reference quantizer again. */
export async function restart(
  source: Source,
  types: ReadonlyMap<string, number>,
  parameter: Parameter,
  importance?: Importance,
): Promise<void> {
  const { name, shape } = parameter
  const { parameters } = await studentOf(source, types, new Map([[name, shape]]), new Set(), importance)
  parameter.restart(parameters[0].latents)
}

/** A block of a student, in the same way. */
export function makeBlock(
  source: Source,
  types: ReadonlyMap<string, number>,
  layer: number,
  importance?: Importance,
): Promise<Student> {
  const shapes = Object.entries(source.architecture.blockTensors(source.config, layer))
  const named = new Map(shapes.map(([name, shape]) => [`blk.${layer}.${name}`, shape]))
  return studentOf(source, types, named, new Set(), importance)
}

async function studentOf(
  source: Source,
  types: ReadonlyMap<string, number>,
  shapes: ReadonlyMap<string, readonly number[]>,
  untrained: ReadonlySet<string>,
  importance: Importance | undefined,
): Promise<Student> {
  const parameters: Parameter[] = []
  const frozen = new Map<string, Float32Array>()
  for (const [name, shape] of shapes) {
    const weights = source.weights.get(name) as Float32Array
    const type = types.get(name) ?? source.gguf.tensor(name).type
    const format = formatOf(type)
    if (untrained.has(name) && type === source.gguf.tensor(name).type) frozen.set(name, weights)
    else if (format?.name === 'F32') parameters.push(Parameter.plain(name, shape, weights.slice()))
    else {
      try {
        const bytes = await quantizeRowsAsync(type, weights, shape.at(-1) as number, importance?.get(name))
        if (format?.latents && !untrained.has(name)) {
          const codes = format.decode(bytes)
          checkScales(format, codes)
          parameters.push(Parameter.quantized(name, shape, format, weights, codes))
        } else frozen.set(name, dequantizeRows(type, bytes, weights.length))
      } catch (error) {
        throw aboutTensors(source.gguf.path, name, error)
      }
    }
  }
  return { parameters, frozen }
}
