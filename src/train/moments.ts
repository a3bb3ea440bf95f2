/**
 * Statistics of a model for rounding its matrices: second moments of what they read and of the gradients of what they give,
 * and what their products should be. All are sums over the tokens of a batch.
 */
import { add, matmul, mean, mul, rsqrt, sub, type Tensor } from '../graph/index.js'
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

/** The same tokens themselves: X, (tokens, in), and Y, (tokens, out), by matrix. */
export interface GroupSamples {
  readonly inputs: Float32Array
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

/** The moments of a group of matrices of a block, see `groupTensors`. */
export async function groupMoments(
  network: Network,
  layer: number,
  group: number,
  student: Side,
  teacher: Side,
): Promise<GroupMoments> {
  return groupRun('moments', network, layer, group, student, teacher, (x, y) =>
    matmul(y, x, { transA: true }),
  )
}

/** What a group of matrices reads and should give, see `groupTensors`. */
export async function groupSamples(
  network: Network,
  layer: number,
  group: number,
  student: Side,
  teacher: Side,
): Promise<GroupSamples> {
  return groupRun('samples', network, layer, group, student, teacher, (_, y) => y)
}

/** Runs `of` on X and X for the inputs, and on X and Y for each target. */
async function groupRun(
  what: string,
  network: Network,
  layer: number,
  group: number,
  student: Side,
  teacher: Side,
  of: (x: Tensor, y: Tensor) => Tensor,
): Promise<{ inputs: Float32Array; targets: Map<string, Float32Array> }> {
  const program = await network.program(`${what} ${group} ${blockKey(network, layer)}`, () => {
    const { fed, x, wanted } = groupTensors(network, layer, group)
    const targets = Array.from(wanted, ([name, y]): [string, Tensor] => [`target ${name}`, of(x, y)])
    return { inputs: fed, outputs: { inputs: of(x, x), ...Object.fromEntries(targets) } }
  })
  const { inputs, ...targets } = await program.run({
    ...network.blockValues(layer, student.flow, student.weights),
    ...prefixed('teacher ', network.blockValues(layer, teacher.flow, teacher.weights)),
  })
  const named = Object.entries(targets).map(([name, values]): [string, Float32Array] => [
    name.slice('target '.length),
    values,
  ])
  return { inputs, targets: new Map(named) }
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
    wanted: new Map(wanted),
  }
}

/** The graph of what the head reads of all tokens, and its output matrix there; without `use` the head has none. */
export function headMatrix(network: Network): { x: Tensor; outer: Tensors; use: MatrixUse | undefined } {
  const { x, outer } = headInputs(network, network.tokens)
  const logits = network.architecture.head(network.config, x, outer)
  return { x, outer, use: matrixGroups({ logits }, outer)[0]?.[0] }
}

/** X'X, (in, in), of what the output matrix reads after the last forward pass. */
export const headMoments = (network: Network, weights: Weights): Promise<Float32Array> =>
  headRun('moments', network, weights, (x) => matmul(x, x, { transA: true }))

/** X, (tokens, in), of it. */
export const headSamples = (network: Network, weights: Weights): Promise<Float32Array> =>
  headRun('samples', network, weights, (x) => x)

async function headRun(
  what: string,
  network: Network,
  weights: Weights,
  of: (x: Tensor) => Tensor,
): Promise<Float32Array> {
  const program = await network.program(`head ${what}`, () => {
    const { x, outer, use } = headMatrix(network)
    return { inputs: { x, ...outer }, outputs: { inputs: of(use?.input ?? x) } }
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
