/** Memory and disk space of a run, from the sizes of the model, and how a method fits. */

import { cutWidth } from '../blockwise/samples.js'
import { solvesHead } from '../blockwise/solve.js'
import { type Method, type Training, trainingOf } from '../config/methods.js'
import type { Item } from '../config/plan.js'
import { modelTensors } from '../models/weights.js'
import { type Model, rowTables } from '../student/source.js'
import { vocabularyMatrices } from '../student/untrained.js'
import type { PlanOptions } from './plan-options.js'

/** Node, onnxruntime and libllama with nothing loaded, and garbage that is not collected yet. */
const processBytes = 400e6

export interface Sizes {
  /** Number of weights: in total, of the first and of the largest block, outside the blocks, and of the largest matrix of a block. */
  readonly all: number
  readonly first: number
  readonly block: number
  readonly outside: number
  readonly matrix: number
  /** Weights that train, those of frozen tensors that are held whole, and trained ones of the output matrix. */
  readonly trained: number
  readonly frozen: number
  readonly trainedHead: number
  /** Weights of the output matrix if it is solved. */
  readonly solvedHead: number
  /** Weights of the largest tensor that is quantized whole. */
  readonly largest: number
  /** Inputs of the matrices of all blocks: the most and the sum; and the sum of their squared numbers of outputs. */
  readonly inputs: number
  readonly columns: number
  readonly squares: number
}

const count = (shape: readonly number[]): number => shape.reduce((n, d) => n * d, 1)

export function sizesOf(model: Model, untrained: ReadonlySet<string> = new Set()): Sizes {
  const { architecture, config } = model
  const byRows = new Set(rowTables(model, untrained))
  const blocks = Array.from({ length: config.layers }, (_, layer) =>
    Object.values(architecture.blockTensors(config, layer)),
  )
  const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0)
  const perBlock = blocks.map((shapes) => sum(shapes.map(count)))
  const counts = Array.from(
    modelTensors(architecture, config),
    ([name, shape]) => [name, count(shape)] as const,
  )
  const weightsOf = (wanted: (name: string) => boolean): number =>
    sum(counts.filter(([name]) => wanted(name)).map(([, n]) => n))
  const all = weightsOf(() => true)
  const matrices = blocks.flat().filter((shape) => shape.length === 2)
  return {
    all,
    first: perBlock[0],
    block: Math.max(...perBlock),
    outside: all - sum(perBlock),
    matrix: Math.max(...matrices.map(count)),
    trained: weightsOf((name) => !untrained.has(name)),
    frozen: weightsOf((name) => untrained.has(name) && !byRows.has(name)),
    trainedHead: weightsOf((name) => name in architecture.headTensors(config) && !untrained.has(name)),
    solvedHead: sum(
      Object.entries(architecture.headTensors(config))
        .filter(([name, shape]) => shape.length === 2 && !untrained.has(name) && solvesHead(shape))
        .map(([, shape]) => count(shape)),
    ),
    largest: Math.max(...counts.filter(([name]) => !byRows.has(name)).map(([, n]) => n)),
    inputs: Math.max(...matrices.map(([, width]) => width)),
    columns: sum(matrices.map(([, width]) => width)),
    squares: sum(matrices.map(([out]) => out ** 2)),
  }
}

/** Weights outside the blocks that are held with one block in memory: all but tables for row lookups. */
export function heldOutside(model: Model): number {
  const matrices = vocabularyMatrices(model)
  const byRows = rowTables(model, new Set(matrices.keys()))
  return byRows.reduce((left, name) => left - (matrices.get(name) ?? 0), sizesOf(model).outside)
}

/** Values per token between blocks: the residual stream and all side inputs. */
export function hiddenWidth({ architecture, config }: Model): number {
  const sizes = new Map<string, number>()
  for (let layer = 0; layer < config.layers; layer++)
    for (const source of Object.values(architecture.consumes(config, layer, { windows: 1, length: 1 }))) {
      const size = count(source.shape) * ((source.piece ?? 0) + 1)
      sizes.set(source.from, Math.max(size, sizes.get(source.from) ?? 0))
    }
  return [...sizes.values()].reduce((a, b) => a + b, config.width)
}

/** Bytes of activations inside a block, for teacher and student, if they are kept from one group of matrices to the next. */
export function keptBytes(model: Model, { calibration, trial }: Held): number {
  const batch = { windows: 1, length: 1 }
  const layers = Array.from({ length: model.config.layers }, (_, layer) => layer)
  const width = Math.max(...layers.map((layer) => cutWidth({ ...model, batch }, layer)))
  return 4 * 2 * (calibration + trial) * width
}

/** Memory limit of Fisher information at the outputs of all matrices; it gains little (LOG.md). */
const mostFisherBytes = 256 << 20

/** Whether the block-wise stage weights output errors by Fisher information, if the whole student is in memory. */
export const usesFisher = (model: Model): boolean => 4 * sizesOf(model).squares <= mostFisherBytes

/** A holder of memory: the block-wise stage, in memory or one block at a time, or training with some bytes per weight. */
export type Holder = 'solving in memory' | 'solving one block at a time' | Pick<Training, 'weightBytes'>

export type Held = Pick<PlanOptions, 'batch' | 'calibration' | 'trial'> & Partial<PlanOptions>

/** Total bytes in memory. */
export const bytesOf = (
  holder: Holder,
  model: Model,
  options: Held,
  untrained: ReadonlySet<string> = new Set(),
): number => totalOf(memoryOf(holder, model, options, untrained))

export const totalOf = (items: readonly Item[]): number => items.reduce((sum, { amount }) => sum + amount, 0)

/** Bytes in memory, item by item. */
export function memoryOf(
  holder: Holder,
  model: Model,
  o: Held,
  untrained: ReadonlySet<string> = new Set(),
): Item[] {
  const { trained, frozen, block, largest, matrix, solvedHead, inputs, squares } = sizesOf(model, untrained)
  const { width, vocabulary } = model.config
  const activations = 4 * o.batch * (60 * width + 6 * (block / width))
  const logits = 4 * 16 * Math.min(o.batch, 128) * vocabulary
  const common: Item[] = [
    { what: 'the process itself', amount: processBytes },
    { what: 'activations of two copies of a block', amount: activations },
  ]
  const head = 'logits of teacher and student, their exponentials and gradients'
  // Inputs and targets of a group of matrices on the tokens that decide.
  const deciding = (outputs: number): Item => ({
    what: 'inputs and outputs of a group of matrices on the trial tokens',
    amount: 4 * o.trial * (inputs + outputs * Math.ceil(matrix / width)),
  })
  if (holder === 'solving one block at a time')
    return [
      ...common,
      { what: head, amount: logits },
      { what: 'a block of teacher, student and both PTQ files', amount: 20 * block },
      {
        what: 'tensors outside the blocks, in full precision and quantized',
        amount: 8 * heldOutside(model),
      },
      // While moments are factored there are no targets yet, and while a matrix is rounded the factor is finished.
      {
        what: 'Hessians and their factors, or a matrix being rounded',
        amount: Math.max(16 * inputs ** 2 + 4 * matrix, 12 * inputs ** 2 + 32 * matrix),
      },
      deciding(4),
    ]
  const whole: Item[] = [
    ...common,
    // Parameters are made before there are logits.
    { what: `${head}, or the largest tensor being quantized`, amount: Math.max(logits, 12 * largest) },
    { what: 'frozen tensors, in full precision and quantized', amount: 8 * frozen },
  ]
  if (holder !== 'solving in memory')
    return [
      ...whole,
      {
        what: 'weights, latents, gradients and optimizer state',
        amount: holder.weightBytes * trained,
      },
    ]
  const held: Item = { what: 'weights of teacher and student, and latents', amount: 12 * trained }
  if (o.calibration === 0) return [...whole, held] // nothing is solved
  return [
    ...whole,
    held,
    {
      what: 'hidden states of teacher and student',
      amount: 4 * 2 * (o.calibration + o.trial) * hiddenWidth(model),
    },
    // Moments, damped moments, factor and its inverse; target, rounded, codes, latents and two products of a matrix.
    {
      what: 'Hessians and their factors, and a matrix being rounded',
      amount: 16 * inputs ** 2 + 32 * Math.max(matrix, solvedHead),
    },
    deciding(usesFisher(model) ? 6 : 4), // with those in the metric of the outputs
    { what: 'Fisher information of outputs', amount: usesFisher(model) ? 4 * squares : 0 },
  ]
}

/** Bytes of two moments for each weight and each scale of its format. */
export const momentBytesOf = (model: Model, untrained: ReadonlySet<string>): number =>
  9.6 * sizesOf(model, untrained).trained

/** Upper bound of the bytes of a file without its tensors. */
const headBytes = 96 << 10

/** Bytes of two checkpoints. */
export function checkpointBytesOf(model: Model, method: Method, untrained: ReadonlySet<string>): number {
  const training = trainingOf(method)
  return training ? 2 * (headBytes + sizesOf(model, untrained).trained * training.checkpointBytes) : 0
}

/** Bytes per weight of finished blocks: latents of weights and scales with their units, or tensors packed as in the output. */
const latentBytes = 5.3
const tensorBytes = 1.1

/** Files of importances, Fisher information and the validation of the reference quantizer's files. */
const filesBefore = 3

/**
 * Bytes of finished blocks and of what is computed before the first of them; with the whole student in memory, also of trained tensors
 * outside the blocks.
 */
export function blockBytesOf(model: Model, inMemory: boolean, untrained: ReadonlySet<string>): number {
  const { all, outside, trained, columns, squares } = sizesOf(model, untrained)
  const { layers } = model.config
  const before = filesBefore * headBytes + 4 * columns + (inMemory && usesFisher(model) ? 4 * squares : 0)
  return inMemory
    ? before + (layers + 1) * headBytes + latentBytes * trained
    : before + layers * headBytes + tensorBytes * (all - outside)
}
