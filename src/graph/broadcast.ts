/** Sums over axes, and broadcasting, which are each other's gradients. */
import { reshape } from './shape.js'
import { apply, type Op, type Shape, sameShape, type Tensor } from './tensor.js'

const int64 = (values: readonly number[]): BigInt64Array => BigInt64Array.from(values, BigInt)

const sumOp: Op<{ axes: readonly number[] }> = {
  name: 'sum',
  shape: ([x], { axes }) =>
    axes.every((a) => a >= 0 && a < x.shape.length)
      ? x.shape.map((d, i) => (axes.includes(i) ? 1 : d))
      : `axes ${axes.join(', ')} are not all axes of the input`,
  gradient: (node, dy) => [expand(dy, node.inputs[0].shape)],
  lower: (emit, { attributes: { axes } }, [x]) =>
    emit.node('ReduceSum', [x, emit.constant(int64(axes), [axes.length])], { keepdims: 1n }),
}
/** Sum over axes, which are kept with length 1. Without axes, over all. */
export const sum = (x: Tensor, axes: readonly number[] = x.shape.map((_, i) => i)): Tensor =>
  axes.length === 0 ? x : apply(sumOp, [x], { axes })

const expandOp: Op<{ shape: Shape }> = {
  name: 'expand',
  shape: ([x], { shape }) =>
    x.shape.length <= shape.length &&
    x.shape.every((d, i) => d === 1 || d === shape[shape.length - x.shape.length + i])
      ? shape
      : `does not broadcast to [${shape.join(', ')}]`,
  gradient: (node, dy) => [sumTo(dy, node.inputs[0].shape)],
  lower: (emit, { attributes: { shape } }, [x]) =>
    emit.node('Expand', [x, emit.constant(int64(shape), [shape.length])]),
}
/** Broadcasts to a shape. */
export const expand = (x: Tensor, shape: Shape): Tensor =>
  sameShape(x.shape, shape) ? x : apply(expandOp, [x], { shape })

/** The gradient of broadcasting: sums over the axes along which `shape` was stretched to that of `x`. */
export function sumTo(x: Tensor, shape: Shape): Tensor {
  if (sameShape(x.shape, shape)) return x
  const lead = x.shape.length - shape.length
  const axes = x.shape.flatMap((d, i) => (i < lead || (shape[i - lead] === 1 && d !== 1) ? [i] : []))
  const summed = sum(x, axes)
  return sameShape(summed.shape, shape) ? summed : reshape(summed, shape)
}
