/**
 * The start of a training run, in closed form. Block by block and matrix by matrix, in the order of computation:
 *
 *   target   what the matrix should be, now that its inputs have passed through matrices rounded before: the least-squares
 *            solution T for the teacher's products, or for a sum with the residual stream that is the teacher's. So a
 *            matrix makes up for what went wrong before it.
 *   scales   by ggml's own search on T, with the inputs' second moments as importance
 *   codes    rounded so that the errors of a row make up for each other (gptq.ts)
 *   refining scales and codes in the metric of the loss itself (refine.ts)
 *
 * It takes the time of some tens of training steps and wins more than hundreds of them.
 */
import { aboutTensors } from '../errors.js'
import type { Format, Latents } from '../formats/format.js'
import { checkScales, gridOf } from '../formats/grids.js'
import { quantizeRowsAsync } from '../llama/index.js'
import type { Weights } from '../models/weights.js'
import { damp, factorize, type InputFactor, type Multiplier } from '../quantize/factor.js'
import { leastSquares, roundCompensated } from '../quantize/gptq.js'
import { refine } from '../quantize/refine.js'
import type { RowPool } from '../quantize/row-pool.js'
import type { Products } from '../runtime/products.js'
import { blockMatrices, groupMoments, headMoments } from './moments.js'
import type { Network } from './network.js'
import type { Parameter, ParameterPrograms } from './parameter.js'
import type { Streams } from './streams.js'

/** Added to the diagonals of the moments, as shares of their means. */
const inputDamping = 0.1
const outputDamping = 1
/** Times that every number of a matrix is visited. */
const sweeps = 3
/** The output matrix is left as it is where its rounding would take more multiplications than this. */
const mostHeadWork = 1e10

export interface Solver {
  /** The model's file, for errors. */
  readonly path: string
  readonly network: Network
  readonly programs: ParameterPrograms
  readonly products: Products
  readonly rows: RowPool
  /** Second moments of the loss's gradients at the matrices' outputs, by tensor; those that are not there are the unit matrix. */
  readonly outputs: ReadonlyMap<string, Float32Array>
}

/** The streams of student and teacher before a block, batch by batch, and their weights. */
export interface Sides {
  readonly student: { readonly weights: Weights; readonly streams: Streams }
  readonly teacher: { readonly weights: Weights; readonly streams: Streams }
}

/**
 * Moves the latents of a block's matrices to the solution.
 * @param byName the parameters; those of other blocks are not looked at
 * @param onMatrix called after each group of matrices, with the share of the block that is done
 */
export async function solveBlock(
  solver: Solver,
  layer: number,
  { student, teacher }: Sides,
  byName: ReadonlyMap<string, Parameter>,
  onMatrix?: (share: number) => void,
): Promise<void> {
  const { path, network, programs, products, rows } = solver
  const groups = blockMatrices(network, layer)
  for (const [group, names] of groups.entries()) {
    onMatrix?.(group / groups.length)
    const trained = names.map((name) => byName.get(`blk.${layer}.${name}`)).filter(canRefine)
    if (trained.length === 0) continue
    const moments = new Map<string, Float32Array>()
    for (let i = 0; i < student.streams.count; i++) {
      const own = { weights: student.weights, flow: student.streams.get(i) }
      const other = { weights: teacher.weights, flow: teacher.streams.get(i) }
      const { inputs, targets } = await groupMoments(network, layer, group, own, other)
      addSums(moments, 'inputs', inputs)
      for (const [name, sums] of targets) addSums(moments, `blk.${layer}.${name}`, sums)
    }
    const inputs = moments.get('inputs') as Float32Array
    const metric = damp(inputs, inputDamping)
    const factor = await factorize(metric, products).catch((error: unknown) => {
      throw aboutTensors(
        path,
        trained.map((p) => p.name),
        error,
      )
    })
    for (const p of trained) {
      const wanted = moments.get(p.name) as Float32Array
      const weights = teacher.weights.get(p.name) as Float32Array
      const target = await leastSquares(weights, wanted, inputs, factor, products)
      const outputs = solver.outputs.get(p.name)
      const own = outputs && damp(outputs, outputDamping)
      await roundAnew(path, p, target, metric, factor, { products, rows }, own)
      await programs.round(p)
    }
  }
}

/** The output matrix, in the metric of the teacher's own stream: what it reads of the student is not known yet. */
export async function solveHead(
  { path, network, programs, products, rows }: Solver,
  batches: readonly Int32Array[],
  teacher: Weights,
  byName: ReadonlyMap<string, Parameter>,
): Promise<void> {
  const moments = new Map<string, Float32Array>()
  for (const tokens of batches) {
    await network.forward(tokens, teacher)
    const head = await headMoments(network, teacher)
    const p = head && byName.get(head.name)
    if (!p || !canRefine(p) || (p.weights.length * p.shape[1]) / 2 > mostHeadWork) return
    addSums(moments, head.name, head.inputs)
  }
  for (const [name, inputs] of moments) {
    const p = byName.get(name) as Parameter
    const metric = damp(inputs, inputDamping)
    const factor = await factorize(metric, products).catch((error: unknown) => {
      throw aboutTensors(path, name, error)
    })
    await roundAnew(path, p, teacher.get(name) as Float32Array, metric, factor, { products, rows })
    await programs.round(p)
  }
}

/** Whether a tensor is a matrix on a uniform grid. */
const canRefine = (p: Parameter | undefined): p is Parameter =>
  p?.format?.uniform !== undefined && p.shape.length === 2

/** Who does the work. */
interface Hands {
  readonly products: Multiplier
  readonly rows: RowPool
}

/** Starts a parameter anew from a target, (out, in). Without `outputs` its rows do not know of each other. */
async function roundAnew(
  path: string,
  parameter: Parameter,
  target: Float32Array,
  inputs: Float32Array,
  factor: InputFactor,
  hands: Hands,
  outputs?: Float32Array,
): Promise<void> {
  const { format, name } = parameter
  if (!format) return
  try {
    parameter.restart(await roundedLatents(format, target, inputs, factor, hands, outputs))
  } catch (error) {
    throw aboutTensors(path, name, error)
  }
}

/** The latents of a target, (out, in), rounded in the metric of `inputs` and `outputs`. @throws RangeError for a format without them */
export async function roundedLatents(
  format: Format,
  target: Float32Array,
  inputs: Float32Array,
  factor: InputFactor,
  { products, rows }: Hands,
  outputs?: Float32Array,
): Promise<Latents> {
  if (!format.uniform || !format.latents) throw new RangeError(`${format.name} has nothing to solve for`)
  const n = factor.order.length
  const importance = Float32Array.from({ length: n }, (_, i) => inputs[i * n + i])
  const found = format.decode(await quantizeRowsAsync(format.type, target, n, importance))
  checkScales(format, found)
  const { q } = await roundCompensated(target, gridOf(format.uniform, found), factor, products, rows)
  const codes = { ...found, q }
  const metric = { inputs, ...(outputs && { outputs }) }
  const start = format.dequantize(codes)
  const latents = await refine(codes, format.uniform, target, start, metric, sweeps, products, rows)
  return format.latents(latents, codes)
}

/** Adds to sums that are kept by name; the first values become the sum themselves. */
export function addSums(sums: Map<string, Float32Array>, name: string, values: Float32Array): void {
  const total = sums.get(name)
  if (total) for (let i = 0; i < total.length; i++) total[i] += values[i]
  else sums.set(name, values)
}
