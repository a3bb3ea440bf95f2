/**
 * What a model's matrices read and what their products should be, and second moments of the gradients of what they give.
 */

import type { DeviceBuffer, DeviceWeights } from '../backends/backend.js'
import { backwardGraph, blockGraph, blockKey, headInputs, result } from '../engine/block-graphs.js'
import type { Target } from '../engine/head.js'
import { type MatrixUse, matrixGroups } from '../engine/linear-layers.js'
import type { Activations, Network } from '../engine/network.js'
import { add, matmul, mean, mul, rsqrt, sub, type Tensor } from '../graph/index.js'
import type { Tensors } from '../models/architecture.js'

/** What a group of matrices reads, X, (tokens, in), and what each should give, Y, (tokens, out), by the name of the matrix in the block. */
export interface GroupSamples {
  readonly inputs: DeviceBuffer
  readonly targets: ReadonlyMap<string, DeviceBuffer>
}

/** A model's weights and what goes into one of its blocks. */
export interface Side {
  readonly weights: DeviceWeights
  readonly activations: Activations
}

/** The matrices of a block in groups that read the same input, in the order in which they are computed. */
export function blockMatrices(network: Network, layer: number): readonly (readonly string[])[] {
  const { results, w } = blockGraph(network, layer)
  return matrixGroups(results, w).map((group) => group.map(({ name }) => name))
}

/**
 * What a group of matrices of a block reads and should give, see `groupTensors`.
 * @param advance moves the teacher's activations to behind the block, for which all of it must have been computed anyway
 */
export async function groupSamples(
  network: Network,
  layer: number,
  group: number,
  student: Side,
  teacher: Side,
  advance = false,
): Promise<GroupSamples> {
  const program = await network.program(`samples ${group} ${advance} ${blockKey(network, layer)}`, () => {
    const { fed, x, wanted, results } = groupTensors(network, layer, group)
    const outputs = { ...prefixed('target ', Object.fromEntries(wanted)), inputs: x }
    return { inputs: fed, outputs: advance ? { ...outputs, ...prefixed('teacher ', results) } : outputs }
  })
  const out = await program.run({
    ...network.blockValues(layer, student.activations, student.weights),
    ...prefixed('teacher ', network.blockValues(layer, teacher.activations, teacher.weights)),
  })
  if (advance) {
    teacher.activations.x = out[`teacher ${result('x')}`]
    for (const [name, to] of Object.entries(network.architecture.produces(network.config, layer)))
      teacher.activations.sideInputs.set(to, out[`teacher ${result(name)}`])
  }
  const targets = Object.entries(out).filter(([name]) => name.startsWith('target '))
  return {
    inputs: out.inputs,
    targets: new Map(targets.map(([name, values]) => [name.slice('target '.length), values])),
  }
}

/** Below this mean square a stream counts as no smaller. */
const leastSquare = 1e-6

/**
 * What a group of matrices reads, X, and what each of them should give, Y. X is what the student's matrices read. Their products
 * should be the teacher's; where a product is added to the residual stream, it should bring the sum to the teacher's, and so make up
 * for what went wrong before.
 *
 * The next norm divides the stream by its root mean square, so what an error there does is in proportion to that: tokens of such
 * matrices are divided by the root mean square of the teacher's sum. Otherwise the few tokens whose activations are massive, as the
 * first of a text in many models, would outweigh all others.
 */
function groupTensors(network: Network, layer: number, group: number) {
  const [own, other] = [blockGraph(network, layer), blockGraph(network, layer)]
  const uses = ({ results, w }: typeof own): MatrixUse[] => matrixGroups(results, w)[group]
  const [mine, theirs] = [uses(own), uses(other)]
  const sums = theirs.map(({ residual }) => residual?.sum)
  const scale = sums[0] && rsqrt(add(mean(mul(sums[0], sums[0]), [1]), leastSquare))
  const scaled = (tensor: Tensor): Tensor => (scale ? mul(tensor, scale) : tensor)
  const wanted = mine.map(({ name, residual }, i): [string, Tensor] => {
    const { product, residual: same } = theirs[i]
    return [name, scaled(residual && same ? sub(same.sum, residual.other) : product)]
  })
  return {
    fed: { ...own.inputs, ...prefixed('teacher ', other.inputs) },
    x: scaled(mine[0].input),
    wanted,
    results: other.results,
  }
}

/** The graph of what the head reads of all tokens, and its output matrix there; without `use` the head has none. */
export function headMatrix(network: Network): { x: Tensor; outer: Tensors; use: MatrixUse | undefined } {
  const { x, outer } = headInputs(network, network.tokens)
  const logits = network.architecture.head(network.config, x, outer)
  return { x, outer, use: matrixGroups({ logits }, outer)[0]?.[0] }
}

/** X, (tokens, in), that the output matrix reads after the last forward pass. */
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
