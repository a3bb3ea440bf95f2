/** Finds the inputs of a graph's matrices and the uses of their products, so that an architecture need not declare them. */
import { topological } from '../graph/grad.js'
import { sameShape, type Tensor } from '../graph/tensor.js'
import type { Tensors } from '../models/architecture.js'

/** A matrix in a graph. */
export interface MatrixUse {
  readonly name: string
  /** Its input, (tokens, in). */
  readonly input: Tensor
  /** The product, (tokens, out). */
  readonly product: Tensor
  /** If the product is only added to a tensor of its own shape, such as the residual stream: that tensor, and the sum. */
  readonly residual?: { readonly other: Tensor; readonly sum: Tensor }
}

/** The matrices of a graph in groups with the same input, in the order of computation. */
export function matrixGroups(results: Tensors, weights: Tensors): MatrixUse[][] {
  const matrices = new Map(Object.entries(weights).map(([name, tensor]) => [tensor, name]))
  const nodes = topological(Object.values(results))
  const groups: MatrixUse[][] = []
  for (const product of nodes) {
    const [input, matrix] = product.inputs
    const name = matrices.get(matrix)
    if (product.op.name !== 'matmul' || name === undefined) continue
    const use = { name, input, product, ...residualOf(product, nodes) }
    const group = groups.find(([first]) => first.input === input)
    if (group) group.push(use)
    else groups.push([use])
  }
  return groups
}

function residualOf(product: Tensor, nodes: readonly Tensor[]): Pick<MatrixUse, 'residual'> {
  const [sum, ...others] = nodes.filter((node) => node.inputs.includes(product))
  if (!sum || others.length > 0 || sum.op.name !== 'add') return {}
  const other = sum.inputs.find((operand) => operand !== product)
  return other && sameShape(other.shape, product.shape) ? { residual: { other, sum } } : {}
}

/**
 * The tensors at which a graph can be cut before a group of matrices. That group and everything after it is computed from them, from
 * leaves, and from tensors that do not depend on `activations`. They depend on no product of that group or of a later one.
 */
export function cutBefore(
  results: Tensors,
  groups: readonly (readonly MatrixUse[])[],
  group: number,
  activations: readonly Tensor[],
): Tensor[] {
  const products = new Set(groups.slice(group).flatMap((uses) => uses.map(({ product }) => product)))
  const moving = new Set(activations)
  const later = new Set<Tensor>()
  const cut = new Set<Tensor>()
  const need = (tensor: Tensor): void => {
    if (!later.has(tensor) && moving.has(tensor) && tensor.inputs.length > 0) cut.add(tensor)
  }
  for (const node of topological(Object.values(results))) {
    if (node.inputs.some((i) => moving.has(i))) moving.add(node)
    if (!products.has(node) && !node.inputs.some((i) => later.has(i))) continue
    later.add(node)
    node.inputs.forEach(need)
  }
  Object.values(results).forEach(need)
  return [...cut]
}
