/** Products with the matrices of a model, and the gated feed-forward network. */
import { add, matmul, mul, type Tensor } from '../graph/index.js'
import type { Tensors } from './architecture.js'

/** x (tokens, in) times the matrix `name` (out, in), plus its bias if there is one: (tokens, out). */
export function project(name: string, x: Tensor, weights: Tensors): Tensor {
  const y = matmul(x, weights[`${name}.weight`], { transB: true })
  const bias = weights[`${name}.bias`]
  return bias ? add(y, bias) : y
}

/** down(activation(gate(x)) * up(x)), a gated linear unit (arXiv 2002.05202). */
export const feedForward = (x: Tensor, weights: Tensors, activation: (x: Tensor) => Tensor): Tensor =>
  project(
    'ffn_down',
    mul(activation(project('ffn_gate', x, weights)), project('ffn_up', x, weights)),
    weights,
  )
