/**
 * Programs read and write flat arrays, so a reshape right after an input or right before an output has no effect for the caller; but
 * onnxruntime copies there, since two of its values may not share memory. This module cuts such reshapes off.
 */
import { topological } from './grad.js'
import type { ProgramGraph } from './lower.js'
import type { Tensor } from './tensor.js'

const isReshape = (tensor: Tensor): boolean => tensor.op.name === 'reshape'

/** The same program for flat arrays: the shapes of inputs and outputs may differ, but not their sizes. */
export function unshape({ inputs, outputs }: ProgramGraph): ProgramGraph {
  const named = new Set(Object.values(inputs))
  const before = (tensor: Tensor): Tensor =>
    isReshape(tensor) && !named.has(tensor) && !named.has(tensor.inputs[0])
      ? before(tensor.inputs[0])
      : tensor
  const cut = mapValues(outputs, before)
  const given = new Set(Object.values(cut))
  const users = new Map<Tensor, Tensor[]>()
  for (const node of topological([...given], named))
    if (!named.has(node)) for (const read of node.inputs) users.set(read, [...(users.get(read) ?? []), node])
  const behind = (tensor: Tensor): Tensor => {
    const [user, ...others] = users.get(tensor) ?? []
    const only = user && others.length === 0 && isReshape(user) && !given.has(tensor) && !given.has(user)
    return only && !named.has(user) ? behind(user) : tensor
  }
  return { inputs: mapValues(inputs, behind), outputs: cut }
}

const mapValues = (
  tensors: Readonly<Record<string, Tensor>>,
  change: (tensor: Tensor) => Tensor,
): Record<string, Tensor> =>
  Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, change(tensor)]))
