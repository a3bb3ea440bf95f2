/**
 * What a run will do on this model with this much memory and time, decided and told before it starts. The figures are
 * estimates: bytes from the sizes of what is held, seconds from a little of the work, measured on the spot.
 */

import { type Method, methods } from '../config/methods.js'
import type { Plan, PlannedStage, Writing } from '../config/plan.js'
import { QuenchError } from '../errors.js'
import { gigabytes } from '../format.js'
import { modelTensors } from '../models/weights.js'
import { validations } from '../optimizer/schedule.js'
import { type Model, rowTables } from '../student/source.js'
import { vocabularyMatrices } from '../student/untrained.js'
import { besideSeconds, productSpeed, solveSeconds, writingSpeed } from './cost-model.js'
import type { BlockSeconds } from './probe.js'
import { planTraining } from './step-cost.js'
import { type Adjustable, allot } from './time-budget.js'

export interface PlanOptions {
  readonly method: Method | 'auto'
  /** Bytes that the process may take. */
  readonly memory: number
  /** Tokens of a step, of the block-wise start and of the validation text. */
  readonly batch: number
  readonly calibration: number
  readonly validation: number
  /** Tokens that importances are computed from, and those that decide among the candidates of a matrix. */
  readonly importance: number
  readonly trial: number
  readonly steps: number | undefined
  readonly seconds: number | undefined
  /** Tokens of the training text, and of a window of it. */
  readonly text: number
  /** What is to be written of it. Default: nothing. */
  readonly writing?: Writing
  /** What may be less so that the run fits in `seconds`. Default: nothing. */
  readonly adjustable?: ReadonlySet<Adjustable>
  /** Whether the whole student is in memory, where that is decided; otherwise it is if it fits. */
  readonly whole?: boolean
  readonly length: number
  /** How many of the teacher's likeliest tokens are kept; undefined: to be decided. */
  readonly topK: number | undefined
  /** Sets of tensors that may be left untrained, the one to be preferred first; without it all tensors train. */
  readonly untrained?: readonly ReadonlySet<string>[]
  /** How fast the block-wise method is here, with the whole student in memory or one block at a time. */
  readonly speeds: (whole: boolean) => Promise<BlockSeconds>
}

/** From so many tokens for each input on, more of them win little (LOG.md). */
const tokensPerInput = 8
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

/** Bytes of what a stage holds. */
export function bytesOf(
  stage: 'solve' | 'solve streamed' | 'distill' | 'distill, moments on disk' | 'scales',
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
  switch (stage) {
    case 'solve':
      return held + 12 * trained + streams + algebra + deciding + (usesFisher(model) ? 4 * squares : 0)
    case 'solve streamed':
      return base + logits + 22 * block + 8 * outside + streamedAlgebra + deciding
    case 'distill':
      return held + 24 * trained
    case 'distill, moments on disk':
      return held + 16 * trained
    case 'scales':
      return held + 18 * trained
  }
}

/** How a method fits in memory: which tensors are left untrained, and whether the optimizer's moments lie on disk. */
interface Fit {
  readonly untrained: ReadonlySet<string>
  readonly momentBytes: number
}

/** The best way in which a method fits. */
function fitting(model: Model, options: PlanOptions, method: Method): Fit | undefined {
  const sets = options.untrained ?? [new Set<string>()]
  const within = (stage: Parameters<typeof bytesOf>[0], set: ReadonlySet<string>): boolean =>
    bytesOf(stage, model, options, set) <= options.memory
  const whole = sets.filter((set) => within('solve', set))
  const inMemory =
    method === 'blockwise'
      ? (whole[0] ?? sets.find((set) => within('solve streamed', set)))
      : whole.find((set) => within(method, set))
  if (inMemory) return { untrained: inMemory, momentBytes: 0 }
  if (method !== 'distill') return undefined
  const onDisk = whole.find((set) => within('distill, moments on disk', set))
  return onDisk && { untrained: onDisk, momentBytes: momentBytesOf(model, onDisk) }
}

/** Two for each weight and each scale of its format. */
const momentBytesOf = (model: Model, untrained: ReadonlySet<string>): number =>
  9.6 * sizesOf(model, untrained).trained

/** Of two checkpoints. */
const checkpointBytesOf = (model: Model, method: Method, untrained: ReadonlySet<string>): number =>
  method === 'blockwise' ? 0 : 2 * sizesOf(model, untrained).trained * (method === 'distill' ? 14.4 : 7.3)

const blockBytesOf = (model: Model, whole: boolean): number =>
  model.config.layers * sizesOf(model).block * (whole ? 5.3 : 1.1)

/** The most that fits in memory and, unlike what was planned, in so many bytes of the disk. */
export function methodWithin(
  disk: number,
  model: Model,
  options: PlanOptions,
  planned: Plan,
): Method | undefined {
  return methods.slice(methods.indexOf(planned.method) + 1).find((method) => {
    const fit = fitting(model, options, method)
    if (!fit) return false
    const { momentBytes, untrained } = fit
    const needed = blockBytesOf(model, planned.whole) + checkpointBytesOf(model, method, untrained)
    return momentBytes + needed + planned.spillBytes <= disk
  })
}

/** Decides. @throws QuenchError naming what would fit where nothing that was asked for does */
export async function planRun(model: Model, options: PlanOptions): Promise<Plan> {
  const { memory, method } = options
  const fits = (m: Method): boolean => fitting(model, options, m) !== undefined
  const wanted = method === 'auto' ? methods.find(fits) : method
  const fit = wanted && fitting(model, options, wanted)
  const untrained = fit?.untrained ?? options.untrained?.at(-1) ?? new Set<string>()
  const bytes = (stage: Parameters<typeof bytesOf>[0]): number =>
    Math.ceil(bytesOf(stage, model, options, untrained))
  const whole = options.whole ?? bytes('solve') <= memory
  const solvingBytes = bytes(whole ? 'solve' : 'solve streamed')
  if (options.whole !== undefined && wanted !== undefined && solvingBytes > memory)
    throw new QuenchError(
      `going on with this run takes about ${gigabytes(solvingBytes)} of memory and ${gigabytes(memory)} are allowed; give it more, or start anew`,
    )
  if (wanted === undefined || !fit) {
    const other = methods.find(fits)
    const needed = Math.max(
      bytes(wanted === 'blockwise' || !wanted ? 'solve streamed' : wanted),
      wanted && wanted !== 'blockwise' ? bytes('solve') : 0,
    )
    const advice = other
      ? `--method ${other} fits`
      : 'give it more, take a smaller model, or use quench quantize'
    throw new QuenchError(
      `training this model${wanted ? ` with --method ${wanted}` : ''} takes about ${gigabytes(needed)} of memory and ${gigabytes(memory)} are allowed; ${advice}`,
    )
  }
  const measured = { speeds: await options.speeds(whole), product: await productSpeed(model.config.width) }
  const plan = layOut(model, options, wanted, fit, whole, measured)
  const few = method === 'auto' && options.seconds !== undefined && stepsOf(plan, options) < fewestSteps
  const alone = few ? fitting(model, options, 'blockwise') : undefined
  return alone ? layOut(model, options, 'blockwise', alone, whole, measured) : plan
}

/** Fewer steps than that win nothing after the block-wise start, and the time is better spent on that. */
const fewestSteps = 100

/** Steps that fit in the time that is planned for them. */
function stepsOf({ method, stages }: Plan, { batch }: PlanOptions): number {
  const training = stages.find(({ stage }) => stage === method && stage !== 'blockwise')
  return training ? (training.seconds * training.tokensPerSecond) / batch : Number.POSITIVE_INFINITY
}

/** What a method takes, stage by stage, and how it shares the time. */
function layOut(
  model: Model,
  options: PlanOptions,
  method: Method,
  { untrained, momentBytes }: Fit,
  whole: boolean,
  { speeds, product }: { readonly speeds: BlockSeconds; readonly product: number },
): Plan {
  const { memory } = options
  const { width } = model.config
  const bytes = (stage: Parameters<typeof bytesOf>[0]): number =>
    Math.ceil(bytesOf(stage, model, options, untrained))
  const { fisher, validating } = besideSeconds(model, options, speeds.forward, product)
  // The reference quantizer's two files are validated before it, and the result.
  const beside = whole ? (options.calibration > 0 && usesFisher(model) ? fisher : 0) + 3 * validating : 0
  const solvingFrom = (tokens: number): number =>
    beside + solveSeconds(model, { ...options, calibration: tokens }, whole, speeds)
  const trains = method !== 'blockwise'
  const { tokens, calibration, solving, writing, left } = allot(
    { ...options, trains },
    { writing: writingSpeed(model, options.batch, speeds.forward, product), solving: solvingFrom },
  )
  const streamBytes = 4 * 2 * (calibration + options.trial + 2 * options.validation) * width
  const spill = !whole && bytes('solve streamed') + streamBytes > memory
  const stages: PlannedStage[] = [
    {
      stage: 'blockwise',
      bytes: whole ? bytes('solve') : bytes('solve streamed') + (spill ? 0 : streamBytes),
      seconds: solving,
      tokensPerSecond: solving > 0 ? calibration / solving : 0,
    },
  ]
  const training = planTraining(
    model.config,
    sizesOf(model, untrained),
    { ...options, momentBytes, text: tokens, seconds: left },
    speeds.forward,
    product,
  )
  if (trains) {
    const { seconds, tokensPerSecond } = training
    const held = bytes(momentBytes > 0 ? 'distill, moments on disk' : method)
    const more = options.seconds === undefined && options.steps !== 0 ? validations * validating : 0
    stages.push({ stage: method, bytes: held, seconds: seconds + more, tokensPerSecond })
  }
  const disk = {
    spillBytes: spill ? streamBytes : 0,
    blockBytes: blockBytesOf(model, whole),
    checkpointBytes: checkpointBytesOf(model, method, untrained),
    momentBytes,
  }
  const { inputs } = sizesOf(model)
  const enough = Math.ceil((tokensPerInput * inputs) / options.batch) * options.batch
  const few = calibration > 0 && calibration < enough
  const teacher = trains ? training.teacher : { topK: 0, bytes: 0 }
  return {
    method,
    whole,
    ...disk,
    diskBytes: Object.values(disk).reduce((a, b) => a + b, teacher.bytes),
    teacher,
    memory,
    untrained: [...(whole ? untrained : vocabularyMatrices(model).keys())],
    tokens,
    calibration,
    ...(few && { few: { inputs, tokens: enough, seconds: solvingFrom(enough) } }),
    writing,
    stages,
  }
}
