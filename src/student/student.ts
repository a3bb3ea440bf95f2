/** The student: the parameters that train, and the tensors that are only quantized. */
import type { Backend, DeviceBuffer, DeviceWeights } from '../backends/backend.js'
import { aboutTensors } from '../errors.js'
import type { Codes, Format } from '../formats/format.js'
import { checkScales, layoutOf } from '../formats/grids.js'
import { unrounded } from '../formats/table.js'
import { inUnits, outOfUnits } from '../formats/tensor-scale.js'
import { keepBytes, keepCodes } from '../lattice/index.js'
import { dequantizeRows } from '../llama/index.js'
import { formatFor } from '../models/tensor-formats.js'
import { modelTensors } from '../models/weights.js'
import { Parameter } from '../optimizer/parameter.js'
import { referenceRows } from '../quantize/reference-rows.js'
import { CodedTensor } from './coded-tensor.js'
import { rowTables, type Source } from './source.js'
import { type BlockWeights, roundedRows } from './student-weights.js'

/** Mean squares of the matrices' inputs, (in), by tensor. */
export type Importance = ReadonlyMap<string, Float32Array>

export interface Student extends BlockWeights {
  /** The tensors that train, in the order of the model. */
  readonly parameters: Parameter[]
  /**
   * Weights of matrices that do not train, as ggml rounds them: those left out, and those whose type has no trainable values (F16, for
   * rows that are not whole blocks).
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
 * @param untrained tensors that are only quantized; tables among them that the head does not read are not held in memory, their rows
 * are rounded on demand
 * @param importance mean squares of the matrices' inputs
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
    importance,
    untrained,
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

/** Resets a parameter to the codes of the reference quantizer. */
export async function restart(
  source: Source,
  types: ReadonlyMap<string, number>,
  parameter: Parameter,
  importance?: Importance,
): Promise<void> {
  const { backend, name, shape } = parameter
  const only = new Map([[name, shape]])
  const { parameters } = await studentOf(backend, source, types, only, importance)
  parameter.takeLatents(parameters[0])
}

/** A block of a student without end-to-end training. */
export interface CodedBlock extends BlockWeights {
  readonly parameters: readonly CodedTensor[]
}

/** Makes a block of a student with the reference quantizer. */
export async function makeBlock(
  backend: Backend,
  source: Source,
  types: ReadonlyMap<string, number>,
  layer: number,
  importance?: Importance,
): Promise<CodedBlock> {
  const shapes = Object.entries(source.architecture.blockTensors(source.config, layer))
  const named = new Map(shapes.map(([name, shape]) => [`blk.${layer}.${name}`, shape]))
  const parameters: CodedTensor[] = []
  const frozen = new Map<string, DeviceBuffer>()
  for await (const made of tensorsOf(source, types, named, importance)) {
    const { name, shape } = made
    if (made.is === 'frozen') frozen.set(name, backend.upload(made.weights))
    else if (made.is === 'plain')
      parameters.push(new CodedTensor(backend, name, shape, undefined, { w: made.weights.slice() }))
    else parameters.push(new CodedTensor(backend, name, shape, made.format, made.codes))
  }
  return { parameters, frozen }
}

async function studentOf(
  backend: Backend,
  source: Source,
  types: ReadonlyMap<string, number>,
  shapes: ReadonlyMap<string, readonly number[]>,
  importance: Importance | undefined,
  untrained?: ReadonlySet<string>,
): Promise<Student> {
  const parameters: Parameter[] = []
  const frozen = new Map<string, DeviceBuffer>()
  for await (const made of tensorsOf(source, types, shapes, importance, untrained)) {
    const { name, shape, weights } = made
    if (made.is === 'frozen') frozen.set(name, backend.upload(weights))
    else if (made.is === 'plain') parameters.push(Parameter.plain(backend, name, shape, weights.slice()))
    else parameters.push(Parameter.quantized(backend, name, shape, made.format, weights, made.codes))
  }
  return { parameters, frozen }
}

/** A tensor made by the reference quantizer, with the codes of weights that lie on a grid already. `weights` are in full precision, or rounded if it is frozen. */
type Made = { readonly name: string; readonly shape: readonly number[]; readonly weights: Float32Array } & (
  | { readonly is: 'coded'; readonly format: Format; readonly codes: Codes }
  | { readonly is: 'plain' }
  | { readonly is: 'frozen' }
)

/** @param untrained tensors that are frozen */
async function* tensorsOf(
  source: Source,
  types: ReadonlyMap<string, number>,
  shapes: ReadonlyMap<string, readonly number[]>,
  importance: Importance | undefined,
  untrained: ReadonlySet<string> = new Set(),
): AsyncGenerator<Made> {
  for (const [name, shape] of shapes) {
    const weights = source.weights.get(name) as Float32Array
    const from = source.gguf.tensor(name).type
    const type = types.get(name) ?? from
    const format = formatFor(source.architecture, name, type, weights)
    const trains = !untrained.has(name)
    if (!trains && type === from) yield { is: 'frozen', name, shape, weights }
    else if (format === unrounded) yield { is: 'plain', name, shape, weights }
    else {
      try {
        const columns = shape.at(-1) as number
        const units = format ? inUnits(format, weights) : weights
        const bytes = await referenceRows(type, units, columns, importance?.get(name))
        if (format && layoutOf(format) && trains) {
          const codes = format.decode(bytes)
          keepCodes(format, weights, columns, codes)
          checkScales(format, codes)
          yield { is: 'coded', name, shape, weights, format, codes }
        } else {
          const kept = keepBytes(type, units, columns, bytes)
          const rounded = dequantizeRows(type, kept, weights.length)
          yield { is: 'frozen', name, shape, weights: format ? outOfUnits(format, rounded) : rounded }
        }
      } catch (error) {
        throw aboutTensors(source.gguf.path, name, error)
      }
    }
  }
}
