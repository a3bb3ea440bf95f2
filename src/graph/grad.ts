/** Reverse-mode differentiation: walks the graph from the loss back and applies each op's gradient rule. */
import { add } from './elementwise.js'
import { constant, GraphError, type Shape, sameShape, sizeOf, type Tensor } from './tensor.js'

/** Nodes that `roots` depend on, inputs before users; the inputs of the tensors in `stop` are not visited. */
export function topological(roots: readonly Tensor[], stop: ReadonlySet<Tensor> = new Set()): Tensor[] {
  const order: Tensor[] = []
  const seen = new Set<Tensor>()
  const stack: [Tensor, boolean][] = roots.map((t): [Tensor, boolean] => [t, false]).reverse()
  while (stack.length > 0) {
    const [node, inputsDone] = stack.pop() as [Tensor, boolean]
    if (inputsDone) order.push(node)
    else if (!seen.has(node)) {
      seen.add(node)
      stack.push([node, true])
      if (!stop.has(node)) for (const i of node.inputs.toReversed()) stack.push([i, false])
    }
  }
  return order
}

/**
 * Gradients of `y` with respect to each tensor of `wrt`, as new graph nodes of their shapes.
 * `dy` is the gradient with respect to `y` (its shape); without it, `y` must hold one element and counts as the loss.
 * @throws GraphError if `y` does not depend on one of `wrt`
 */
export const grad = (y: Tensor, wrt: readonly Tensor[], dy: Tensor = one(y.shape)): Tensor[] =>
  gradOfAll([[y, dy]], wrt)

/** The same for several results, each with its gradient: their contributions are added up. */
export function gradOfAll(
  results: readonly (readonly [y: Tensor, dy: Tensor])[],
  wrt: readonly Tensor[],
): Tensor[] {
  for (const [y, dy] of results)
    if (!sameShape(dy.shape, y.shape))
      throw new GraphError(
        `grad: a gradient of [${dy.shape.join(', ')}] for a value of [${y.shape.join(', ')}]`,
      )
  const order = topological(results.map(([y]) => y))
  const leadsToWrt = new Set<Tensor>(wrt)
  for (const node of order)
    if (node.op.gradient && node.inputs.some((i) => leadsToWrt.has(i))) leadsToWrt.add(node)

  const gradients = new Map<Tensor, Tensor>()
  for (const [y, dy] of results) {
    const before = gradients.get(y)
    gradients.set(y, before ? add(before, dy) : dy)
  }
  for (const node of order.toReversed()) {
    const dNode = gradients.get(node)
    if (!dNode || !node.op.gradient || !node.inputs.some((i) => leadsToWrt.has(i))) continue
    const dInputs = node.op.gradient(node, dNode)
    node.inputs.forEach((i, k) => {
      const d = dInputs[k]
      if (!d || !leadsToWrt.has(i)) return
      const before = gradients.get(i)
      gradients.set(i, before ? add(before, d) : d)
    })
  }
  return wrt.map((t, k) => {
    const d = gradients.get(t)
    if (!d)
      throw new GraphError(
        `grad: the result does not depend on tensor ${k} (${t.op.name}) of those asked for`,
      )
    return d
  })
}

function one(shape: Shape): Tensor {
  if (sizeOf(shape) !== 1)
    throw new GraphError(`grad: a loss must hold one element, not [${shape.join(', ')}]; pass its gradient`)
  return constant(Float32Array.of(1), shape)
}
