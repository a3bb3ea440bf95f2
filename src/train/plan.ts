/**
 * What a run will do on this model with this much memory and time, decided and told before it starts. The figures are
 * estimates: bytes from the sizes of what is held, seconds from a little of the work, measured on the spot.
 */
import { QuenchError } from '../errors.js'
import { modelTensors } from '../models/weights.js'
import { Products } from '../runtime/products.js'
import type { BlockSeconds } from './sample.js'
import type { Model } from './source.js'

/** How a run trains after the block-wise start: all weights, only scales and norms, or not at all. */
export type Method = 'distill' | 'scales' | 'blockwise'
const methods: readonly Method[] = ['distill', 'scales', 'blockwise']

interface PlannedStage {
  readonly stage: 'blockwise' | 'distill' | 'scales'
  /** Largest resident size of the process, bytes. */
  readonly bytes: number
  readonly seconds: number
  /** Tokens a second that pass through the whole of it. */
  readonly tokensPerSecond: number
}

interface PlannedRun {
  readonly method: Method
  /** The whole student is in memory; otherwise one block at a time. */
  readonly whole: boolean
  /** The streams between blocks lie on disk, this many bytes; 0 if they fit in memory. */
  readonly spillBytes: number
  /** Bytes of finished blocks that are kept on disk until the end. */
  readonly blockBytes: number
  /** Bytes of checkpoints of the whole state, of which there is room for two. */
  readonly checkpointBytes: number
  readonly memory: number
  readonly stages: readonly PlannedStage[]
}

export interface Plan extends PlannedRun {
  /** Disk in the cache folder that text takes which the model writes, and for a moment a copy of the model; bytes. */
  readonly writing: { readonly text: number; readonly copy: number }
}

export interface PlanOptions {
  readonly method: Method | 'auto'
  /** Bytes that the process may take. */
  readonly memory: number
  /** Tokens of a step, of the block-wise start and of the held-out text. */
  readonly batch: number
  readonly calibration: number
  readonly validation: number
  readonly steps: number | undefined
  readonly seconds: number | undefined
  /** How fast the block-wise method is here, with the whole student in memory or one block at a time. */
  readonly speeds: (whole: boolean) => Promise<BlockSeconds>
}

/** Node, onnxruntime and libllama with nothing loaded, and what garbage collection leaves lying about. */
const processBytes = 400e6
/** What is free now, less a part for others. */
export const defaultMemory = (): number => Math.floor(0.85 * process.availableMemory())

interface Sizes {
  /** Weights in all, of the first and of the largest block, outside the blocks, and of the largest matrix of a block. */
  readonly all: number
  readonly first: number
  readonly block: number
  readonly outside: number
  readonly matrix: number
  /** Weights of the largest tensor that is made a parameter whole. */
  readonly largest: number
  /** Most inputs of a matrix of a block, and the sum of the squares of all outputs. */
  readonly inputs: number
  readonly squares: number
}

export function sizesOf({ architecture, config }: Model): Sizes {
  const blocks = Array.from({ length: config.layers }, (_, layer) =>
    Object.values(architecture.blockTensors(config, layer)),
  )
  const count = (shape: readonly number[]): number => shape.reduce((n, d) => n * d, 1)
  const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0)
  const perBlock = blocks.map((shapes) => sum(shapes.map(count)))
  const counts = [...modelTensors(architecture, config).values()].map(count)
  const all = sum(counts)
  const matrices = blocks.flat().filter((shape) => shape.length === 2)
  return {
    all,
    first: perBlock[0],
    block: Math.max(...perBlock),
    outside: all - sum(perBlock),
    matrix: Math.max(...matrices.map(count)),
    largest: Math.max(...counts),
    inputs: Math.max(...matrices.map(([, width]) => width)),
    squares: sum(matrices.map(([out]) => out ** 2)),
  }
}

/** Bytes of what a stage holds. */
export function bytesOf(
  stage: 'solve' | 'solve streamed' | 'distill' | 'scales',
  model: Model,
  o: PlanOptions,
): number {
  const { all, block, outside, largest, matrix, inputs, squares } = sizesOf(model)
  const { width, vocabulary } = model.config
  // Activations of two copies of a block; logits of teacher and student, their exponentials and gradients; what making a parameter
  // of the largest tensor takes for a moment.
  const activations = 4 * o.batch * (60 * width + 6 * (block / width))
  const logits = 4 * 16 * Math.min(o.batch, 128) * vocabulary
  const work = processBytes + activations + logits + 12 * largest
  const streams = 4 * 2 * (o.calibration + 2 * o.validation) * width
  // Moments, damped moments, factor and its inverse; target, rounded, codes, latents and two products of a matrix.
  const algebra = 16 * inputs ** 2 + 4 * 8 * matrix
  switch (stage) {
    case 'solve':
      return work + 12 * all + streams + algebra + 4 * squares
    case 'solve streamed':
      return work - 12 * (largest - matrix) + 16 * block + 8 * outside + algebra
    case 'distill':
      return work + 24 * all
    case 'scales':
      return work + 18 * all
  }
}

/** Decides. @throws QuenchError naming what would fit where nothing that was asked for does */
export async function planRun(model: Model, options: PlanOptions): Promise<PlannedRun> {
  const { memory, method } = options
  const bytes = (stage: Parameters<typeof bytesOf>[0]): number => Math.ceil(bytesOf(stage, model, options))
  const whole = bytes('solve') <= memory
  const fits = (m: Method): boolean =>
    m === 'blockwise' ? bytes('solve streamed') <= memory || whole : whole && bytes(m) <= memory
  const wanted = method === 'auto' ? methods.find(fits) : method
  if (wanted === undefined || !fits(wanted)) {
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
  const { width } = model.config
  const streamBytes = 4 * 2 * (options.calibration + 2 * options.validation) * width
  const spill = !whole && bytes('solve streamed') + streamBytes > memory
  const speeds = await options.speeds(whole)
  const solving = options.calibration > 0 ? solveSeconds(model, options, whole, speeds) : 0
  const stages: PlannedStage[] = [
    {
      stage: 'blockwise',
      bytes: whole ? bytes('solve') : bytes('solve streamed') + (spill ? 0 : streamBytes),
      seconds: solving,
      tokensPerSecond: solving > 0 ? options.calibration / solving : 0,
    },
  ]
  if (wanted !== 'blockwise') {
    const step = stepSeconds(model, options, speeds, await productSpeed(width))
    const seconds =
      options.steps === undefined && options.seconds !== undefined
        ? options.seconds
        : (options.steps ?? 0) * step
    stages.push({ stage: wanted, bytes: bytes(wanted), seconds, tokensPerSecond: options.batch / step })
  }
  const { all, block } = sizesOf(model)
  return {
    method: wanted,
    whole,
    spillBytes: spill ? streamBytes : 0,
    blockBytes: model.config.layers * block * (whole ? 5.3 : 1.1),
    checkpointBytes: wanted === 'blockwise' ? 0 : 2 * all * (wanted === 'distill' ? 14.4 : 7.3),
    memory,
    stages,
  }
}

/** Operations a second of f32 products as wide as the model. */
async function productSpeed(width: number): Promise<number> {
  const products = new Products()
  const [m, n] = [512, Math.min(width, 2048)]
  const [a, b] = [new Float32Array(m * n).fill(0.1), new Float32Array(n * n).fill(0.1)]
  try {
    await products.multiply(a, b, [m, n, n])
    const began = performance.now()
    let runs = 0
    while (performance.now() - began < 60) {
      await products.multiply(a, b, [m, n, n])
      runs++
    }
    return (runs * 2 * m * n * n) / ((performance.now() - began) / 1000)
  } finally {
    await products.dispose()
  }
}

/** Of all blocks; every one that differs from the first counts by its weights. */
function solveSeconds(
  model: Model,
  { calibration, validation, batch }: PlanOptions,
  whole: boolean,
  { prepare, forward, moments, factors, rounding }: BlockSeconds,
): number {
  const batches = Math.floor(calibration / batch)
  // Student and teacher; one block at a time the held-out text goes along, also through the reference quantizer's block.
  const passes = 2 * batches + (whole ? 0 : 3 * Math.ceil(validation / batch))
  const first = prepare + passes * forward + batches * moments + factors
  const { all, outside, first: weights } = sizesOf(model)
  return first * ((all - outside) / weights) + model.config.layers * rounding
}

/** The teacher's pass, the student's, once more and backward through the blocks; the heads; and passes over the weights. */
function stepSeconds(model: Model, { batch }: PlanOptions, { forward }: BlockSeconds, speed: number): number {
  const { all, outside, first } = sizesOf(model)
  const blocks = 5 * forward * ((all - outside) / first)
  return blocks + (8 * model.config.vocabulary * model.config.width * batch) / speed + 30e-9 * all
}

export const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(1)} GB`
