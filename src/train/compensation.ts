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
import { gridOf } from '../formats/grids.js'
import { quantizeRowsAsync } from '../llama/index.js'
import { damp, factorize, type InputFactor } from '../quantize/factor.js'
import { leastSquares, roundCompensated } from '../quantize/gptq.js'
import { refine } from '../quantize/refine.js'
import type { Products } from '../runtime/products.js'
import { blockMatrices, groupMoments, headMoments, type Side } from './moments.js'
import type { Network, Weights } from './network.js'
import type { Parameter, ParameterPrograms } from './parameter.js'

/** Added to the diagonals of the moments, as shares of their means. */
const inputDamping = 0.1
const outputDamping = 1
/** Times that every number of a matrix is visited. */
const sweeps = 3
/** The output matrix is left as it is where its rounding would take more multiplications than this (minutes). */
const mostHeadWork = 1e11

export interface CompensationOptions {
  readonly network: Network
  readonly parameters: readonly Parameter[]
  readonly programs: ParameterPrograms
  readonly products: Products
  /** The weights that the forward pass uses, which the parameters round into. */
  readonly student: Weights
  /** The full-precision weights. */
  readonly teacher: Weights
  /** Tokens of whole batches. */
  readonly batches: readonly Int32Array[]
  /** Second moments of the loss's gradients at the matrices' outputs, by tensor. */
  readonly outputs: ReadonlyMap<string, Float32Array>
  readonly onProgress?: (done: number, total: number) => void
}

/** Moves the latents of the matrices to the solution. */
export async function compensate(options: CompensationOptions): Promise<void> {
  const { network, parameters, programs, products, student, teacher, batches, onProgress } = options
  const byName = new Map(parameters.map((p) => [p.name, p]))
  await compensateHead(options, byName)
  const sides: { student: Side; teacher: Side }[] = []
  for (const tokens of batches)
    sides.push({
      student: { weights: student, flow: await network.embed(tokens, student) },
      teacher: { weights: teacher, flow: await network.embed(tokens, teacher) },
    })
  const { layers } = network.config
  for (let layer = 0; layer < layers; layer++) {
    const groups = blockMatrices(network, layer)
    for (const [group, names] of groups.entries()) {
      onProgress?.(layer + group / groups.length, layers)
      const trained = names.map((name) => byName.get(`blk.${layer}.${name}`)).filter(canRefine)
      if (trained.length === 0) continue
      const moments = new Map<string, Float32Array>()
      for (const side of sides) {
        const { inputs, targets } = await groupMoments(network, layer, group, side.student, side.teacher)
        add(moments, 'inputs', inputs)
        for (const [name, sums] of targets) add(moments, `blk.${layer}.${name}`, sums)
      }
      const inputs = moments.get('inputs') as Float32Array
      const metric = damp(inputs, inputDamping)
      const factor = await factorize(metric, products)
      for (const p of trained) {
        const wanted = moments.get(p.name) as Float32Array
        const weights = teacher.get(p.name) as Float32Array
        const target = await leastSquares(weights, wanted, inputs, factor, products)
        const outputs = options.outputs.get(p.name)
        await roundAnew(options, p, target, metric, factor, outputs && damp(outputs, outputDamping))
        await programs.round(p)
      }
    }
    for (const side of sides)
      for (const { flow, weights } of [side.student, side.teacher])
        flow.x = await network.block(layer, flow, weights)
  }
  onProgress?.(layers, layers)
}

/** The output matrix, in the metric of the teacher's own stream: what it reads of the student is not known yet. */
async function compensateHead(
  options: CompensationOptions,
  byName: ReadonlyMap<string, Parameter>,
): Promise<void> {
  const { network, programs, products, teacher, batches } = options
  const moments = new Map<string, Float32Array>()
  for (const tokens of batches) {
    await network.forward(tokens, teacher)
    const head = await headMoments(network, teacher)
    const p = head && byName.get(head.name)
    if (!p || !canRefine(p) || (p.weights.length * p.shape[1]) / 2 > mostHeadWork) return
    add(moments, head.name, head.inputs)
  }
  for (const [name, inputs] of moments) {
    const p = byName.get(name) as Parameter
    const metric = damp(inputs, inputDamping)
    await roundAnew(options, p, teacher.get(name) as Float32Array, metric, await factorize(metric, products))
    await programs.round(p)
  }
}

/** Whether a tensor is a matrix on a uniform grid. */
const canRefine = (p: Parameter | undefined): p is Parameter =>
  p?.format?.uniform !== undefined && p.shape.length === 2

/** Starts a parameter anew from a target, (out, in). Without `outputs` its rows do not know of each other. */
async function roundAnew(
  { products }: CompensationOptions,
  parameter: Parameter,
  target: Float32Array,
  inputs: Float32Array,
  factor: InputFactor,
  outputs?: Float32Array,
): Promise<void> {
  const { format, shape } = parameter
  if (!format?.uniform || !format.latents) return
  const n = shape[1]
  const importance = Float32Array.from({ length: n }, (_, i) => inputs[i * n + i])
  const found = format.decode(await quantizeRowsAsync(format.type, target, n, importance))
  const { q } = await roundCompensated(target, gridOf(format.uniform, found), factor, products)
  const codes = { ...found, q }
  const latents = outputs
    ? await refine(
        codes,
        format.uniform,
        target,
        format.dequantize(codes),
        { inputs, outputs },
        sweeps,
        products,
      )
    : weights
  parameter.restart(format.latents(latents, codes))
}

/** Adds to sums that are kept by name. */
export function add(sums: Map<string, Float32Array>, name: string, values: Float32Array): void {
  const total = sums.get(name)
  if (total) for (let i = 0; i < total.length; i++) total[i] += values[i]
  else sums.set(name, values.slice())
}
