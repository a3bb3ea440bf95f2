/** Causal grouped-query attention. */
import { add, constant, matmul, mul, reshape, softmax, type Tensor } from '../graph/index.js'

/** Zero where position i may look at position j, a large negative number elsewhere: (copies * length, length). */
function causalMask(length: number, copies: number): Tensor {
  const mask = new Float32Array(copies * length * length)
  for (let row = 0; row < copies * length; row++)
    mask.fill(-1e30, row * length + (row % length) + 1, (row + 1) * length)
  return constant(mask, [copies * length, length])
}

/**
 * q is (windows, heads, length, headWidth), k and v are (windows, kvHeads, length, headWidth); query heads share the
 * keys of their group, so a group's queries are stacked into one matrix instead of copying the keys.
 */
export function causalAttention(q: Tensor, k: Tensor, v: Tensor, scale: number): Tensor {
  const [windows, heads, length, headWidth] = q.shape
  const kvHeads = k.shape[1]
  const group = heads / kvHeads
  const stacked = reshape(mul(q, scale), [windows, kvHeads, group * length, headWidth])
  const scores = matmul(stacked, k, { transB: true }) // (windows, kvHeads, group * length, length)
  const probabilities = softmax(add(scores, causalMask(length, group)))
  return reshape(matmul(probabilities, v), [windows, heads, length, headWidth])
}
