/** Finds in a graph what its matrices are multiplied with, so that an architecture need not say it. */
import { topological } from '../graph/grad.js'
import type { Tensor } from '../graph/index.js'

/**
 * What the matrices of a graph are multiplied with: for each matrix the name of its input, and the inputs by name. An
 * input is called like the first matrix that reads it.
 */
export function matrixInputs(
  y: Tensor,
  weights: Readonly<Record<string, Tensor>>,
): { names: Map<string, string>; activations: Map<string, Tensor> } {
  const matrices = new Map(Object.entries(weights).map(([name, tensor]) => [tensor, name]))
  const activations = new Map<string, Tensor>()
  const names = new Map<string, string>()
  for (const { op, inputs } of topological([y])) {
    const matrix = matrices.get(inputs[1])
    if (op.name !== 'matmul' || matrix === undefined) continue
    const known = [...activations].find(([, activation]) => activation === inputs[0])?.[0]
    if (known === undefined) activations.set(matrix, inputs[0])
    names.set(matrix, known ?? matrix)
  }
  return { names, activations }
}
