/**
 * The block-wise solver, in closed form. Block by block and matrix by matrix, in the order of computation:
 *
 *   target   the least-squares solution T for the teacher's products, or for a sum with the residual stream that equals the
 *            teacher's, given inputs that have passed through the matrices rounded before. So a matrix compensates for
 *            earlier errors.
 *   scales   by ggml's own search on T, with the inputs' second moments as importance
 *   codes    rounded so that the errors of a row compensate for each other (gptq.ts)
 *   refining of scales and codes in the metric of the loss itself (refine.ts)
 *   choice   of that or a simpler candidate, by held-out tokens (candidates.ts)
 *
 * It takes the time of some tens of training steps and gains more than hundreds of them.
 */

import { type DeviceBuffer, type DeviceWeights, joined } from '../backends/backend.js'
import type { Products } from '../backends/products.js'
import type { Network } from '../engine/network.js'
import { aboutTensors } from '../errors.js'
import type { Codes, Format } from '../formats/format.js'
import { layoutOf } from '../formats/grids.js'
import type { Shape } from '../graph/index.js'
import type { Weights } from '../models/weights.js'
import { type Choice, type Chosen, type Compute, chooseCodes } from './candidates.js'
import { damp, factorize, type InputFactor, shrink } from './factor.js'
import { MomentSums, type Moments } from './hessians.js'
import type { HiddenStates } from './hidden-states.js'
import { leastSquaresStep, shareStep } from './least-squares.js'
import { untimed } from './parts.js'
import {
  beginning,
  blockMatrices,
  type Cut,
  type GroupSamples,
  groupSamples,
  headMatrix,
  headSamples,
  teacherInputs,
} from './samples.js'

/**
 * The share of itself by which the diagonal of the inputs' moments grows: the fewer tokens per input, the more. With as many tokens
 * as inputs twice the diagonal is best, with six times as many half of it, with very many a tenth (LOG.md).
 */
export const shrinkageOf = (inputs: number, tokens: number): number =>
  Math.min(10, Math.max(0.1, (3 * inputs) / tokens))

/** Added to the diagonals of the outputs' moments, as a share of their mean. */
const outputDamping = 1
/** The output matrix is not solved if its rounding would take more multiplications than this. */
const mostHeadWork = 1e10

/** A tensor to solve. */
export interface Solvable {
  readonly name: string
  /** (out, in). */
  readonly shape: Shape
  readonly format: Format | undefined
  codes(): Promise<Codes>
  /** @param optimum for each weight, a value in the cell of its code from which training may start */
  take(codes: Codes, optimum: Float32Array): Promise<void>
}

export interface Solver extends Compute {
  readonly products: Products
  /** The model's weights in full precision. */
  readonly full: Weights
  /** The model's file, for error messages. */
  readonly path: string
  readonly network: Network
  /** Second moments of the loss's gradients at the matrices' outputs, by tensor; missing ones are the identity matrix. */
  readonly outputs: ReadonlyMap<string, Float32Array>
  /** The tokens of the trial at which its kinds of text begin and end. */
  readonly bounds: readonly number[]
  /** Whether activations inside a block are kept from one group of matrices to the next. */
  readonly keeps: boolean
  /** Called with the choice for each matrix. */
  readonly onChoice?: (name: string, choice: Choice, error: number) => void
}

/** A model's weights and its hidden states before a block, batch by batch: of the text to solve on, and of the trial that decides. */
export interface Side {
  readonly weights: DeviceWeights
  readonly states: HiddenStates
  readonly trial: HiddenStates
}

/** How far the hidden states have advanced through a block while it was solved. */
export interface Advanced {
  readonly teacherAdvanced: boolean
  readonly student: Cuts
}

/** How far a block has been computed, for every batch. */
interface Cuts {
  readonly states: Cut[]
  readonly trial: Cut[]
}

export interface Sides {
  readonly student: Side
  readonly teacher: Side
}

/**
 * Solves the matrices of a block and sets their codes.
 * @param byName the tensors; those of other blocks are ignored
 * @param onMatrix called before each group of matrices, with the share of the block that is done
 */
export async function solveBlock(
  solver: Solver,
  layer: number,
  sides: Sides,
  byName: ReadonlyMap<string, Solvable>,
  onMatrix?: (share: number) => void,
): Promise<Advanced> {
  const { path, network } = solver
  const groups = blockMatrices(network, layer)
  const cutsOf = ({ states, trial }: Side): Cuts => ({
    states: Array(states.count).fill(beginning),
    trial: Array(trial.count).fill(beginning),
  })
  const cuts = { student: cutsOf(sides.student), teacher: cutsOf(sides.teacher) }
  let teacherAdvanced = false
  for (const [group, names] of groups.entries()) {
    onMatrix?.(group / groups.length)
    const trained = names.map((name) => byName.get(`blk.${layer}.${name}`)).filter(canRefine)
    if (trained.length === 0) continue
    teacherAdvanced = group === groups.length - 1
    try {
      await solveGroup(solver, { layer, group, last: teacherAdvanced }, sides, cuts, trained)
    } catch (error) {
      throw aboutTensors(
        path,
        trained.map((p) => p.name),
        error,
      )
    }
  }
  return { teacherAdvanced, student: cuts.student }
}

async function solveGroup(
  solver: Solver,
  { layer, group, last }: { layer: number; group: number; last: boolean },
  { student, teacher }: Sides,
  cuts: { readonly student: Cuts; readonly teacher: Cuts },
  trained: readonly Solvable[],
): Promise<void> {
  const { network, products, keeps } = solver
  const sample = async (of: 'states' | 'trial', i: number): Promise<GroupSamples> => {
    const [from, to] = [student[of].get(i), teacher[of].get(i)]
    const step = await groupSamples(
      network,
      layer,
      group,
      { weights: student.weights, activations: from, cut: cuts.student[of][i] },
      { weights: teacher.weights, activations: to, cut: cuts.teacher[of][i] },
      { keeps, last, forSums: of === 'states' },
    )
    cuts.student[of][i] = step.student
    cuts.teacher[of][i] = step.teacher
    if (last) await teacher[of].set(i, to)
    return step.samples
  }
  const { run = untimed } = solver
  const sums = new MomentSums(products)
  for (let i = 0; i < student.states.count; i++) {
    const samples = await run('forward passes', () => sample('states', i))
    await run('moments', () => sums.add(samples, network.tokens))
  }
  const moments = await run('moments', () => sums.finish())
  const { inputs } = moments
  const samples: GroupSamples[] = []
  await run('forward passes', async () => {
    for (let i = 0; i < student.trial.count; i++) samples.push(await sample('trial', i))
  })
  const tokens = student.states.count * network.tokens
  const metric = shrink(inputs, shrinkageOf(Math.sqrt(inputs.length), tokens))
  const factor = await run('factors', () => factorize(metric, products))
  const stepOf = await run('shared steps', () => stepsOf(moments, factor, products))
  const joinedTrial = (of: (each: GroupSamples) => DeviceBuffer): Promise<Float32Array> =>
    network.backend.download(joined(network.backend, samples.map(of)))
  const trialInputs = await joinedTrial((each) => each.inputs)
  for (const p of trained) {
    const name = p.name.slice(`blk.${layer}.`.length)
    const outputs = solver.outputs.get(p.name)
    const weights = solver.full.get(p.name) as Float32Array
    const evidence = {
      metric,
      factor,
      inputs,
      step: () => stepOf(name, weights),
      outputs: outputs && damp(outputs, outputDamping),
    }
    const trial = {
      tokens: network.tokens * samples.length,
      inputs: trialInputs,
      target: await joinedTrial((each) => each.targets.get(name) as DeviceBuffer),
      bounds: solver.bounds,
    }
    const { choice, error } = await roundAnew(p, (format, present) =>
      chooseCodes(format, weights, present, evidence, trial, solver),
    )
    solver.onChoice?.(p.name, choice, error)
  }
}

/** The least-squares step of each matrix of a group, by its name and weights. May overwrite the sums of the targets. */
export async function stepsOf(
  { inputs, targets }: Moments,
  factor: InputFactor,
  products: Products,
): Promise<(name: string, weights: Float32Array) => Promise<Float32Array>> {
  const others = targets.get(teacherInputs)
  if (!others)
    return async (name, weights) => {
      const wanted = targets.get(name)
      if (!wanted) throw new RangeError(`${name} has no target`)
      return leastSquaresStep(weights, wanted, inputs, factor, products)
    }
  await shareStep(others, inputs, factor, products)
  const n = factor.order.length
  return (_name, weights) => products.multiply(weights, others, [weights.length / n, n, n])
}

/** Solves the output matrix on the teacher's stream, since the student's is not known yet. */
export async function solveHead(
  solver: Solver,
  { batches, trial }: { readonly batches: readonly Int32Array[]; readonly trial: readonly Int32Array[] },
  teacher: DeviceWeights,
  byName: ReadonlyMap<string, Solvable>,
): Promise<void> {
  const { path, network, products } = solver
  const found = await headSums(solver, batches, teacher, byName)
  if (!found) return
  const { p, inputs } = found
  const weights = solver.full.get(p.name) as Float32Array
  const n = p.shape[1]
  try {
    const metric = shrink(inputs, shrinkageOf(n, batches.length * network.tokens))
    const factor = await factorize(metric, products)
    const samples: DeviceBuffer[] = []
    for (const tokens of trial) {
      await network.forward(tokens, teacher)
      samples.push(await headSamples(network, teacher))
    }
    const tokens = network.tokens * samples.length
    const read = await network.backend.download(joined(network.backend, samples))
    const { choice, error } = await roundAnew(p, (format, present) =>
      chooseCodes(
        format,
        weights,
        present,
        { metric, factor, inputs },
        { tokens, inputs: read, bounds: solver.bounds },
        solver,
      ),
    )
    solver.onChoice?.(p.name, choice, error)
  } catch (error) {
    throw aboutTensors(path, p.name, error)
  }
}

/** X'X of the output matrix's inputs; undefined if it does not train, has no grid or would take too long. */
async function headSums(
  { network, products }: Solver,
  batches: readonly Int32Array[],
  teacher: DeviceWeights,
  byName: ReadonlyMap<string, Solvable>,
): Promise<{ p: Solvable; inputs: Float32Array } | undefined> {
  const name = headMatrix(network).use?.name
  const p = name === undefined ? undefined : byName.get(name)
  if (!canRefine(p) || !solvesHead(p.shape)) return undefined
  const sums = new MomentSums(products)
  for (const tokens of batches) {
    await network.forward(tokens, teacher)
    await sums.add({ inputs: await headSamples(network, teacher), targets: new Map() }, network.tokens)
  }
  return { p, inputs: (await sums.finish()).inputs }
}

/** Whether an output matrix (out, in) is small enough to solve. */
export const solvesHead = ([out, n]: Shape): boolean => (out * n ** 2) / 2 <= mostHeadWork

/** Whether a tensor is a matrix on a grid. */
const canRefine = (p: Solvable | undefined): p is Solvable =>
  p?.format !== undefined && layoutOf(p.format) !== undefined && p.shape.length === 2

/** Chooses a tensor's codes and sets them. */
async function roundAnew(
  p: Solvable,
  choose: (format: Format, present: Codes) => Promise<Chosen>,
): Promise<Chosen> {
  if (!p.format) throw new RangeError(`${p.name} has nothing to solve for`)
  const chosen = await choose(p.format, await p.codes())
  if (chosen.choice !== 'as it was') await p.take(chosen.codes, chosen.optimum)
  return chosen
}
