/** What a run holds in memory and on the disk, by the sizes of the model; and in which way a method fits. */
import { type Method, type Training, trainingOf } from '../config/methods.js'
import { modelTensors } from '../models/weights.js'
import { type Model, rowTables } from '../student/source.js'
import type { PlanOptions } from './plan-options.js'

/** Node, onnxruntime and libllama with nothing loaded, and what garbage collection leaves lying about. */
const processBytes = 400e6

export interface Sizes {
  /** Weights in all, of the first and of the largest block, outside the blocks, and of the largest matrix of a block. */
  readonly all: number
  readonly first: number
  readonly block: number
  readonly outside: number
  readonly matrix: number
  /** Weights that train, those of other tensors that are held whole, and those of the output matrix that train. */
  readonly trained: number
  readonly frozen: number
  readonly trainedHead: number
  /** Weights of the largest tensor that is made a parameter whole. */
  readonly largest: number
  /** Most inputs of a matrix of a block, and the sum of the squares of all outputs. */
  readonly inputs: number
  readonly squares: number
}

export function sizesOf(model: Model, untrained: ReadonlySet<string> = new Set()): Sizes {
  const { architecture, config } = model
  const byRows = new Set(rowTables(model, untrained))
  const blocks = Array.from({ length: config.layers }, (_, layer) =>
    Object.values(architecture.blockTensors(config, layer)),
  )
  const count = (shape: readonly number[]): number => shape.reduce((n, d) => n * d, 1)
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
    largest: Math.max(...counts.filter(([name]) => !byRows.has(name)).map(([, n]) => n)),
    inputs: Math.max(...matrices.map(([, width]) => width)),
    squares: sum(matrices.map(([out]) => out ** 2)),
  }
}

/** Fisher information at the outputs of all matrices may take so many bytes; what it wins is little (LOG.md). */
const mostFisherBytes = 256 << 20

/** Whether the block-wise start weighs errors of outputs by Fisher information, where the whole student is in memory. */
export const usesFisher = (model: Model): boolean => 4 * sizesOf(model).squares <= mostFisherBytes

/** What holds memory: the block-wise stage, in memory or one block at a time, or training of so many bytes a weight. */
export type Holder = 'solve' | 'solve streamed' | Pick<Training, 'weightBytes'>

/** Bytes of what is held. */
export function bytesOf(
  holder: Holder,
  model: Model,
  o: Pick<PlanOptions, 'batch' | 'calibration' | 'trial'> & Partial<PlanOptions>,
  untrained: ReadonlySet<string> = new Set(),
): number {
  const { trained, frozen, block, outside, largest, matrix, inputs, squares } = sizesOf(model, untrained)
  const { width, vocabulary } = model.config
  // Activations of two copies of a block; logits of teacher and student, their exponentials and gradients; what making a parameter
  // of the largest tensor takes for a moment.
  const activations = 4 * o.batch * (60 * width + 6 * (block / width))
  const logits = 4 * 16 * Math.min(o.batch, 128) * vocabulary
  const base = processBytes + activations
  // Parameters are made before there are logits.
  const work = base + Math.max(logits, 12 * largest)
  const streams = 4 * 2 * (o.calibration + o.trial) * width
  // What a group of matrices reads and gives of the tokens that decide, and errors there.
  const deciding = 4 * o.trial * (inputs + 4 * Math.ceil(matrix / width))
  // Moments, damped moments, factor and its inverse; target, rounded, codes, latents and two products of a matrix.
  const algebra = 16 * inputs ** 2 + 4 * 8 * matrix
  // While moments are factored there is no target yet, and while a matrix is rounded the factor is done.
  const streamedAlgebra = Math.max(16 * inputs ** 2 + 4 * matrix, 12 * inputs ** 2 + 32 * matrix)
  // What does not train is there twice: as it is, and rounded.
  const held = work + 8 * frozen
  if (holder === 'solve')
    return held + 12 * trained + streams + algebra + deciding + (usesFisher(model) ? 4 * squares : 0)
  if (holder === 'solve streamed')
    return base + logits + 22 * block + 8 * outside + streamedAlgebra + deciding
  return held + holder.weightBytes * trained
}

/** How a method fits in memory: which tensors are left untrained, and whether the optimizer's moments lie on disk. */
export interface Fit {
  readonly untrained: ReadonlySet<string>
  readonly momentBytes: number
}

/** The best way in which a method fits. */
export function fitting(model: Model, options: PlanOptions, method: Method): Fit | undefined {
  const sets = options.untrained ?? [new Set<string>()]
  const within = (holder: Holder, set: ReadonlySet<string>): boolean =>
    bytesOf(holder, model, options, set) <= options.memory
  const whole = sets.filter((set) => within('solve', set))
  const training = trainingOf(method)
  const inMemory = training
    ? whole.find((set) => within(training, set))
    : (whole[0] ?? sets.find((set) => within('solve streamed', set)))
  if (inMemory) return { untrained: inMemory, momentBytes: 0 }
  const weightBytes = training?.weightBytesOnDisk
  if (weightBytes === undefined) return undefined
  const onDisk = whole.find((set) => within({ weightBytes }, set))
  return onDisk && { untrained: onDisk, momentBytes: momentBytesOf(model, onDisk) }
}

/** Two for each weight and each scale of its format. */
const momentBytesOf = (model: Model, untrained: ReadonlySet<string>): number =>
  9.6 * sizesOf(model, untrained).trained

/** Of two checkpoints. */
export const checkpointBytesOf = (model: Model, method: Method, untrained: ReadonlySet<string>): number =>
  2 * sizesOf(model, untrained).trained * (trainingOf(method)?.checkpointBytes ?? 0)

export const blockBytesOf = (model: Model, whole: boolean): number =>
  model.config.layers * sizesOf(model).block * (whole ? 5.3 : 1.1)
