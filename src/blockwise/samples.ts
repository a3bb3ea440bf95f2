/**
 * Inputs and target products of a model's matrices, and second moments of the gradients at their outputs.
 */

import type { Buffers, DeviceBuffer, DeviceWeights } from '../backends/backend.js'
import { backwardGraph, blockGraph, blockKey, headInputs, type Model } from '../engine/block-graphs.js'
import type { Target } from '../engine/head.js'
import { cutBefore, type MatrixUse, matrixGroups } from '../engine/linear-layers.js'
import type { Activations, Network } from '../engine/network.js'
import { add, matmul, mean, mul, rsqrt, sub, type Tensor } from '../graph/index.js'
import type { Tensors } from '../models/architecture.js'

/**
 * The input of a group of matrices, X, (tokens, in), and the target of each, Y, (tokens, out), by its name in the block. If the targets
 * are the teacher's products, its inputs, (tokens, in), may stand for all of them under the name `teacherInputs`.
 */
export interface GroupSamples {
  readonly inputs: DeviceBuffer
  readonly targets: ReadonlyMap<string, DeviceBuffer>
}

/** No tensor has this name. */
export const teacherInputs = "teacher's inputs"

/** A model's weights and the activations of one of its blocks. */
export interface Side {
  readonly weights: DeviceWeights
  readonly activations: Activations
  /** How far the block has been computed. */
  readonly cut: Cut
}

/**
 * Values inside a block from which a group of matrices and everything after it is computed, so that the part before it is not
 * recomputed. `group` 0 is the beginning of the block, without values.
 */
export interface Cut {
  readonly group: number
  readonly values: Readonly<Buffers>
}

export const beginning: Cut = { group: 0, values: {} }

/** The matrices of a block in groups with the same input, in the order of computation. */
export function blockMatrices(network: Network, layer: number): readonly (readonly string[])[] {
  const { results, w } = blockGraph(network, layer)
  return matrixGroups(results, w).map((group) => group.map(({ name }) => name))
}

/** The inputs and targets of a group of matrices of a block, and the cuts from which the next group is computed. */
export interface GroupStep {
  readonly samples: GroupSamples
  readonly student: Cut
  readonly teacher: Cut
}

/** How a group of matrices is computed. */
export interface Passing {
  /** Whether cuts are kept; otherwise every group is computed from the beginning of the block. */
  readonly keeps: boolean
  /** Whether this is the last group to be solved, so that the teacher's activations are advanced through the block. */
  readonly last: boolean
  /** Whether the teacher's inputs may stand for its products, where they are narrower. */
  readonly forSums: boolean
}

/**
 * The inputs and targets of a group of matrices of a block, see `groupTensors`. The student is computed up to this group, whose
 * matrices are not rounded yet, and the teacher up to the next one.
 */
export async function groupSamples(
  network: Network,
  layer: number,
  group: number,
  student: Side,
  teacher: Side,
  { keeps, last, forSums }: Passing,
): Promise<GroupStep> {
  const [own, other] = [student.cut.group, teacher.cut.group]
  const program = await network.program(
    `samples ${group} from ${own} ${other} ${keeps} ${last} ${forSums} ${blockKey(network, layer)}`,
    () => {
      const { x, wanted, mine, theirs } = groupTensors(network, layer, group, forSums)
      const outputs = { ...prefixed('target ', Object.fromEntries(wanted)), inputs: x }
      const after = last ? theirs.results : keeps ? theirs.cut(group + 1) : {}
      return {
        inputs: {
          ...mine.inputs,
          ...mine.cut(own),
          ...prefixed('teacher ', { ...theirs.inputs, ...theirs.cut(other) }),
        },
        outputs: {
          ...outputs,
          ...prefixed('next ', keeps ? mine.cut(group) : {}),
          ...prefixed('teacher next ', after),
        },
      }
    },
  )
  const out = await program.run({
    ...network.blockValues(layer, student.activations, student.weights),
    ...student.cut.values,
    ...prefixed('teacher ', {
      ...network.blockValues(layer, teacher.activations, teacher.weights),
      ...teacher.cut.values,
    }),
  })
  if (last) network.take(layer, teacher.activations, unprefixed('teacher next ', out))
  return {
    samples: { inputs: out.inputs, targets: new Map(Object.entries(unprefixed('target ', out))) },
    student: keeps ? { group, values: unprefixed('next ', out) } : beginning,
    teacher: keeps && !last ? { group: group + 1, values: unprefixed('teacher next ', out) } : beginning,
  }
}

/** Advances a model's activations through the rest of a block, from a cut. */
export async function finishBlock(
  network: Network,
  layer: number,
  { weights, activations, cut }: Side,
): Promise<void> {
  if (cut.group === 0) {
    activations.x = await network.block(layer, activations, weights)
    return
  }
  const program = await network.program(`rest from ${cut.group} ${blockKey(network, layer)}`, () => {
    const { inputs, results, cut: at } = cutGraph(network, layer)
    return { inputs: { ...inputs, ...at(cut.group) }, outputs: results }
  })
  const values = { ...network.blockValues(layer, activations, weights), ...cut.values }
  network.take(layer, activations, await program.run(values))
}

/** Values per token at the largest cut of a block. */
export function cutWidth(model: Model, layer: number): number {
  const { groups, cut } = cutGraph(model, layer)
  const tokens = model.batch.windows * model.batch.length
  const sizes = groups.map((_, group) => Object.values(cut(group)).reduce((sum, { size }) => sum + size, 0))
  return Math.max(0, ...sizes) / tokens
}

/** The graph of a block, its matrices in groups, and the tensors at its cuts by name. */
function cutGraph(model: Model, layer: number) {
  const { inputs, results, w } = blockGraph(model, layer)
  const groups = matrixGroups(results, w)
  const activations = Object.entries(inputs).flatMap(([name, tensor]) => (name in w ? [] : [tensor]))
  const cut = (group: number): Tensors =>
    Object.fromEntries(
      (group === 0 ? [] : cutBefore(results, groups, group, activations)).map((tensor, i) => [
        `cut ${group} ${i}`,
        tensor,
      ]),
    )
  return { inputs, results, groups, cut }
}

/** Added to the mean square of a stream, so that it is not 0. */
const leastSquare = 1e-6

/**
 * The input of a group of matrices, X, and the target of each, Y. X is the input of the student's matrices. The target is the
 * teacher's product; if the product is added to the residual stream, the target brings the sum to the teacher's, and so compensates
 * for earlier errors.
 *
 * The next norm divides the stream by its root mean square, so an error there counts relative to it: tokens of such matrices are
 * divided by the root mean square of the teacher's sum. Otherwise the few tokens with massive activations, such as the first of a
 * text in many models, would outweigh all others.
 */
function groupTensors(network: Network, layer: number, group: number, forSums: boolean) {
  const [mine, theirs] = [cutGraph(network, layer), cutGraph(network, layer)]
  const [own, other] = [mine.groups[group], theirs.groups[group]]
  const sums = other.map(({ residual }) => residual?.sum)
  const scale = sums[0] && rsqrt(add(mean(mul(sums[0], sums[0]), [1]), leastSquare))
  const scaled = (tensor: Tensor): Tensor => (scale ? mul(tensor, scale) : tensor)
  const outputs = other.reduce((width, { product }) => width + product.shape[1], 0)
  if (forSums && other.every(({ residual }) => !residual) && other[0].input.shape[1] <= outputs) {
    const wanted: [string, Tensor][] = [[teacherInputs, other[0].input]]
    return { x: own[0].input, wanted, mine, theirs }
  }
  const wanted = own.map(({ name, residual }, i): [string, Tensor] => {
    const { product, residual: same } = other[i]
    return [name, scaled(residual && same ? sub(same.sum, residual.other) : product)]
  })
  return { x: scaled(own[0].input), wanted, mine, theirs }
}

/** The graph of the head on all tokens: its inputs, and the use of its output matrix, undefined if it has none. */
export function headMatrix(network: Network): { x: Tensor; outer: Tensors; use: MatrixUse | undefined } {
  const { x, outer } = headInputs(network, network.tokens)
  const logits = network.architecture.head(network.config, x, outer)
  return { x, outer, use: matrixGroups({ logits }, outer)[0]?.[0] }
}

/** The input of the output matrix after the last forward pass, X, (tokens, in). */
export async function headSamples(network: Network, weights: DeviceWeights): Promise<DeviceBuffer> {
  const program = await network.program('head samples', () => {
    const { x, outer, use } = headMatrix(network)
    return { inputs: { x, ...outer }, outputs: { inputs: use?.input ?? x } }
  })
  const { inputs } = await program.run({ x: network.output, ...network.headWeights(weights) })
  return inputs
}

/**
 * dY'dY, (out, out), of the gradients of the loss at the products Y of the matrices of all blocks, by tensor name: the output
 * factor of a Kronecker-factored Fisher matrix (K-FAC, arXiv 1503.05671) if the target tokens were drawn from the model itself.
 */
export async function outputMoments(
  network: Network,
  tokens: Int32Array,
  weights: DeviceWeights,
  target: Target,
): Promise<Map<string, Float32Array>> {
  await network.forward(tokens, weights)
  const moments = new Map<string, Float32Array>()
  await network.backwardThrough(weights, target, new Map(), {
    key: 'output moments',
    graph: (layer) => {
      const { inputs, results, w } = blockGraph(network, layer)
      const uses = matrixGroups(results, w).flat()
      const products = Object.fromEntries(uses.map(({ name, product }) => [`product ${name}`, product]))
      const reads = Object.keys(network.architecture.consumes(network.config, layer, network.batch))
      const wrt = Object.fromEntries(['x', ...reads].map((name) => [name, inputs[name]]))
      const { inputs: fed, outputs } = backwardGraph(inputs, results, { ...wrt, ...products })
      const own = Object.entries(outputs).map(([name, d]): [string, Tensor] =>
        name.startsWith('d product ') ? [name, matmul(d, d, { transA: true })] : [name, d],
      )
      return { inputs: fed, outputs: Object.fromEntries(own) }
    },
    take: async (layer, out) => {
      for (const [name, sums] of Object.entries(out))
        if (name.startsWith('d product '))
          moments.set(
            `blk.${layer}.${name.slice('d product '.length)}`,
            (await network.backend.download(sums)).slice(),
          )
    },
  })
  return moments
}

const prefixed = <T>(prefix: string, record: Readonly<Record<string, T>>): Record<string, T> =>
  Object.fromEntries(Object.entries(record).map(([key, value]) => [prefix + key, value]))

/** The entries whose names begin with `prefix`, without it. */
const unprefixed = (prefix: string, record: Readonly<Buffers>): Buffers =>
  Object.fromEntries(
    Object.entries(record).flatMap(([key, value]) =>
      key.startsWith(prefix) ? [[key.slice(prefix.length), value]] : [],
    ),
  )
