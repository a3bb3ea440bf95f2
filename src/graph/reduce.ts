/** Reductions, and softmax over the last axis. */

import { sum, sumTo } from './broadcast.js'
import { add, exp, mul, sub } from './elementwise.js'
import { apply, type Op, type Tensor } from './tensor.js'

/** Mean over axes, which are kept with length 1. Without axes, over all. */
export function mean(x: Tensor, axes: readonly number[] = x.shape.map((_, i) => i)): Tensor {
  const count = axes.reduce((n, a) => n * x.shape[a], 1)
  return mul(sum(x, axes), 1 / count)
}

const softmaxOp: Op<undefined> = {
  name: 'softmax',
  shape: ([x]) => (x.shape.length > 0 ? x.shape : 'a scalar has no axis'),
  gradient: (node, dy) => {
    const y = node as Tensor
    return [mul(y, sub(dy, sum(mul(dy, y), [y.shape.length - 1])))]
  },
  lower: (emit, _node, inputs) => emit.node('Softmax', inputs, { axis: -1n }),
}
/** exp(x) / sum(exp(x)) over the last axis. */
export const softmax = (x: Tensor): Tensor => apply(softmaxOp, [x], undefined)

const logSoftmaxOp: Op<undefined> = {
  name: 'logSoftmax',
  shape: ([x]) => (x.shape.length > 0 ? x.shape : 'a scalar has no axis'),
  gradient: (node, dy) => [sub(dy, mul(exp(node as Tensor), sum(dy, [dy.shape.length - 1])))],
  lower: (emit, { shape }, inputs) => {
    if (!emit.standard) return emit.node('LogSoftmax', inputs, { axis: -1n })
    const axis = shape.length - 1
    const most = emit.node('ReduceMax', inputs, { axes: [axis], keepdims: 1n })
    const below = emit.node('Sub', [inputs[0], most])
    const axes = emit.constant(BigInt64Array.of(BigInt(axis)), [1])
    const total = emit.node('ReduceSum', [emit.node('Exp', [below]), axes], { keepdims: 1n })
    return emit.node('Sub', [below, emit.node('Log', [total])])
  },
}
/** log(softmax(x)) over the last axis. */
export const logSoftmax = (x: Tensor): Tensor => apply(logSoftmaxOp, [x], undefined)

/** Root-mean-square norm over the last axis: x / sqrt(mean(x^2) + epsilon) * weight (arXiv 1910.07467). */
export function rmsNorm(x: Tensor, weight: Tensor, epsilon: number): Tensor {
  return apply(rmsNormOp, [x, weight], { epsilon })
}
const rmsNormOp: Op<{ epsilon: number }> = {
  name: 'rmsNorm',
  shape: ([x, w]) =>
    w.shape.length === 1 && w.shape[0] === x.shape.at(-1)
      ? x.shape
      : 'the weight must be a vector of the last axis',
  gradient: (node, dy) => {
    const [x, w] = node.inputs
    const last = [x.shape.length - 1]
    // y = x * r * w with r = (mean(x^2) + e)^-1/2, so dx = r * (g - x * r^2 * mean(g * x)) with g = dy * w
    const r = inverseRms(x, node.attributes.epsilon)
    const normed = mul(x, r)
    const g = mul(dy, w)
    const dx = mul(r, sub(g, mul(normed, mean(mul(g, normed), last))))
    return [dx, sumTo(mul(dy, normed), w.shape)]
  },
  lower: (emit, { attributes: { epsilon } }, inputs) =>
    emit.node('SimplifiedLayerNormalization', inputs, { axis: -1n, epsilon, stash_type: 1n }),
}

function inverseRms(x: Tensor, epsilon: number): Tensor {
  return rsqrt(add(mean(mul(x, x), [x.shape.length - 1]), epsilon))
}

const rsqrtOp: Op<undefined> = {
  name: 'rsqrt',
  shape: ([x]) => x.shape,
  gradient: (node, dy) => {
    const y = node as Tensor
    return [mul(mul(dy, -0.5), mul(y, mul(y, y)))]
  },
  lower: (emit, _node, [x]) => emit.node('Reciprocal', [emit.node('Sqrt', [x])]),
}
/** 1 / sqrt(x). */
export const rsqrt = (x: Tensor): Tensor => apply(rsqrtOp, [x], undefined)
