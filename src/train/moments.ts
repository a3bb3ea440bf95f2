/**
 * Statistics of a model for rounding its matrices: second moments of what they read and of the gradients of what they give,
 * and what their products should be. All are sums over the tokens of a batch.
 */
import { matmul, sub, type Tensor } from '../graph/index.js'
import type { Tensors } from '../models/architecture.js'
import type { Weights } from '../models/weights.js'
import { backwardGraph, blockGraph, blockKey, headInputs } from './graphs.js'
import type { Target } from './head.js'
import { type MatrixUse, matrixGroups } from './matrices.js'
import type { Flow, Network } from './network.js'

/** What a matrix and those that read the same input are rounded for. */
export interface GroupMoments {
  /** X'X, (in, in), of the inputs X. */
  readonly inputs: Float32Array
  /** Y'X, (out, in), of the products Y that a matrix should give, by the name of the matrix in the block. */
  readonly targets: ReadonlyMap<string, Float32Array>
}

/** A model's weights and what goes into one of its blocks. */
export interface Side {
  readonly weights: Weights
  readonly flow: Flow
}

/** The matrices of a block in groups that read the same input, in the order in which they are computed. */
export function blockMatrices(network: Network, layer: number): readonly (readonly string[])[] {
  const { results, w } = blockGraph(network, layer)
  return matrixGroups(results, w).map((group) => group.map(({ name }) => name))
}

/**
 * The moments of a group of matrices of a block. X is what the student's matrices read. Their products should be the
 * teacher's; where a product is added to the residual stream, it should bring the sum to the teacher's, and so make up for
 * what went wrong before.
 */
export async function groupMoments(
  network: Network,
  layer: number,
  group: number,
  student: Side,
  teacher: Side,
): Promise<GroupMoments> {
  const program = await network.program(`moments ${group} ${blockKey(network, layer)}`, () => {
    const [own, other] = [blockGraph(network, layer), blockGraph(network, layer)]
    const uses = ({ results, w }: typeof own): MatrixUse[] => matrixGroups(results, w)[group]
    const wanted = uses(other)
    const outputs: Record<string, Tensor> = {}
    for (const [i, { name, input, residual }] of uses(own).entries()) {
      const { product, residual: same } = wanted[i]
      outputs.inputs ??= matmul(input, input, { transA: true })
      const y = residual && same ? sub(same.sum, residual.other) : product
      outputs[`target ${name}`] = matmul(y, input, { transA: true })
    }
    return { inputs: { ...own.inputs, ...prefixed('teacher ', other.inputs) }, outputs }
  })
  const { inputs, ...targets } = await program.run({
    ...network.blockValues(layer, student.flow, student.weights),
    ...prefixed('teacher ', network.blockValues(layer, teacher.flow, teacher.weights)),
  })
  const named = Object.entries(targets).map(([name, sums]): [string, Float32Array] => [
    name.slice('target '.length),
    sums,
  ])
  return { inputs, targets: new Map(named) }
}

/** The graph of the head on all tokens of a batch, and its output matrix in it. */
export function headMatrix(network: Network): {
  x: Tensor
  outer: Tensors
  use: MatrixUse | undefined
} {
  const { x, outer } = headInputs(network, network.tokens)
  const logits = network.architecture.head(network.config, x, outer)
  return { x, outer, use: matrixGroups({ logits }, outer)[0]?.[0] }
}

/** X'X, (in, in), of what the output matrix reads, and its name, from the last forward pass. */
export async function headMoments(
  network: Network,
  weights: Weights,
): Promise<{ name: string; inputs: Float32Array } | undefined> {
  const { use } = headMatrix(network)
  if (!use) return undefined
  const program = await network.program('head moments', () => {
    const { x, outer, use } = headMatrix(network)
    const inputs = use ? matmul(use.input, use.input, { transA: true }) : x
    return { inputs: { x, ...outer }, outputs: { inputs } }
  })
  const { inputs } = await program.run({ x: network.output, ...network.headWeights(weights) })
  return { name: use.name, inputs }
}

/**
 * dY'dY, (out, out), of the gradients of the loss at the products Y of the matrices of all blocks, by tensor name: the output
 * factor of a Kronecker-factored Fisher matrix (K-FAC, arXiv 1503.05671) if the target tokens were drawn from the model itself.
 */
export async function outputMoments(
  network: Network,
  tokens: Int32Array,
  weights: Weights,
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
      const reads = Object.keys(network.architecture.reads(network.config, layer, network.batch))
      const wrt = Object.fromEntries(['x', ...reads].map((name) => [name, inputs[name]]))
      const { inputs: fed, outputs } = backwardGraph(inputs, results, { ...wrt, ...products })
      const own = Object.entries(outputs).map(([name, d]): [string, Tensor] =>
        name.startsWith('d product ') ? [name, matmul(d, d, { transA: true })] : [name, d],
      )
      return { inputs: fed, outputs: Object.fromEntries(own) }
    },
    take: (layer, out) => {
      for (const [name, sums] of Object.entries(out))
        if (name.startsWith('d product '))
          moments.set(`blk.${layer}.${name.slice('d product '.length)}`, sums.slice())
    },
  })
  return moments
}

const prefixed = <T>(prefix: string, record: Readonly<Record<string, T>>): Record<string, T> =>
  Object.fromEntries(Object.entries(record).map(([key, value]) => [prefix + key, value]))
