/** The student: the parameters that train, and what is only quantized. */
import type { Backend, DeviceBuffer, DeviceWeights } from '../backends/backend.js'
import { aboutTensors } from '../errors.js'
import { checkScales } from '../formats/grids.js'
import { formatOf } from '../formats/table.js'
import { dequantizeRows, quantizeRowsAsync } from '../llama/index.js'
import { modelTensors } from '../models/weights.js'
import { Parameter } from '../optimizer/parameter.js'
import { rowTables, type Source } from './source.js'
import { type BlockWeights, roundedRows } from './student-weights.js'

/** Mean squares of what the matrices read, (in), by tensor. */
export type Importance = ReadonlyMap<string, Float32Array>

export interface Student extends BlockWeights {
  /** What trains, in the order of the model. */
  readonly parameters: Parameter[]
  /**
   * Weights of matrices that do not train, as ggml rounds them: those left out, and those whose type has nothing to train (F16, for
   * rows that no block divides).
   */
  readonly frozen: Map<string, DeviceBuffer>
}

/** A student with all of its weights. */
export interface WholeStudent extends Student {
  /** As the forward pass uses them. */
  readonly weights: DeviceWeights
}

/**
 * Quantizes the model with the reference quantizer and makes a parameter of every tensor that can be trained.
 * @param untrained tensors that are only quantized; tables among them that the head does not read are not held at all, their rows
 * are rounded when tokens choose them
 * @param importance mean squares of what the matrices read
 */
export async function makeStudent(
  backend: Backend,
  source: Source,
  types: ReadonlyMap<string, number>,
  untrained: ReadonlySet<string> = new Set(),
  importance?: Importance,
): Promise<WholeStudent> {
  const { architecture, config } = source
  const byRows = new Set(rowTables(source, untrained))
  const shapes = [...modelTensors(architecture, config)].filter(([name]) => !byRows.has(name))
  const { parameters, frozen } = await studentOf(
    backend,
    source,
    types,
    new Map(shapes),
    untrained,
    importance,
  )
  const whole = new Map([...frozen, ...parameters.map((p) => [p.name, p.weights] as const)])
  const weights: DeviceWeights = {
    get: (name) => whole.get(name),
    rows(name, tokens, columns) {
      const rows = byRows.has(name) ? roundedRows(source, types, name, tokens, columns) : undefined
      return rows && backend.upload(rows)
    },
  }
  return { parameters, frozen, weights }
}

/** Gives a parameter the codes of the reference quantizer again. */
export async function restart(
  source: Source,
  types: ReadonlyMap<string, number>,
  parameter: Parameter,
  importance?: Importance,
): Promise<void> {
  const { backend, name, shape } = parameter
  const only = new Map([[name, shape]])
  const { parameters } = await studentOf(backend, source, types, only, new Set(), importance)
  parameter.takeLatents(parameters[0])
}

/** A block of a student, in the same way. */
export function makeBlock(
  backend: Backend,
  source: Source,
  types: ReadonlyMap<string, number>,
  layer: number,
  importance?: Importance,
): Promise<Student> {
  const shapes = Object.entries(source.architecture.blockTensors(source.config, layer))
  const named = new Map(shapes.map(([name, shape]) => [`blk.${layer}.${name}`, shape]))
  return studentOf(backend, source, types, named, new Set(), importance)
}

async function studentOf(
  backend: Backend,
  source: Source,
  types: ReadonlyMap<string, number>,
  shapes: ReadonlyMap<string, readonly number[]>,
  untrained: ReadonlySet<string>,
  importance: Importance | undefined,
): Promise<Student> {
  const parameters: Parameter[] = []
  const frozen = new Map<string, DeviceBuffer>()
  for (const [name, shape] of shapes) {
    const weights = source.weights.get(name) as Float32Array
    const type = types.get(name) ?? source.gguf.tensor(name).type
    const format = formatOf(type)
    if (untrained.has(name) && type === source.gguf.tensor(name).type)
      frozen.set(name, backend.upload(weights))
    else if (format?.name === 'F32') parameters.push(Parameter.plain(backend, name, shape, weights.slice()))
    else {
      try {
        const bytes = await quantizeRowsAsync(type, weights, shape.at(-1) as number, importance?.get(name))
        if (format?.latents && !untrained.has(name)) {
          const codes = format.decode(bytes)
          checkScales(format, codes)
          parameters.push(Parameter.quantized(backend, name, shape, format, weights, codes))
        } else frozen.set(name, backend.upload(dequantizeRows(type, bytes, weights.length)))
      } catch (error) {
        throw aboutTensors(source.gguf.path, name, error)
      }
    }
  }
  return { parameters, frozen }
}
