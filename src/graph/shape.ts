/** Ops that move elements: reshape, transpose, slice, roll, concat, rows of a table, elements of rows. */
import { apply, constant, type Op, type Shape, sameShape, sizeOf, type Tensor } from './tensor.js'

const int64 = (...values: number[]): BigInt64Array => BigInt64Array.from(values, BigInt)

const reshapeOp: Op<{ shape: Shape }> = {
  name: 'reshape',
  shape: ([x], { shape }) =>
    sizeOf(shape) === x.size ? shape : `does not have the elements of [${shape.join(', ')}]`,
  gradient: (node, dy) => [reshape(dy, node.inputs[0].shape)],
  lower: (emit, { attributes: { shape } }, [x]) =>
    emit.node('Reshape', [x, emit.constant(int64(...shape), [shape.length])]),
}
/** The same elements in another shape. */
export const reshape = (x: Tensor, shape: Shape): Tensor =>
  sameShape(x.shape, shape) ? x : apply(reshapeOp, [x], { shape })

const transposeOp: Op<{ permutation: readonly number[] }> = {
  name: 'transpose',
  shape: ([x], { permutation }) =>
    sameShape(
      permutation.toSorted((a, b) => a - b),
      [...x.shape.keys()],
    )
      ? permutation.map((axis) => x.shape[axis])
      : `${permutation.join(', ')} does not permute the axes`,
  gradient: (node, dy) => {
    const inverse: number[] = []
    node.attributes.permutation.forEach((axis, i) => {
      inverse[axis] = i
    })
    return [transpose(dy, inverse)]
  },
  lower: (emit, { attributes: { permutation } }, inputs) =>
    emit.node('Transpose', inputs, { perm: permutation }),
}
/** Axis i of the result is axis `permutation[i]` of the input. */
export const transpose = (x: Tensor, permutation: readonly number[]): Tensor =>
  apply(transposeOp, [x], { permutation })

const sliceOp: Op<{ axis: number; start: number; end: number }> = {
  name: 'slice',
  shape: ([x], { axis, start, end }) =>
    start >= 0 && start < end && end <= x.shape[axis]
      ? x.shape.with(axis, end - start)
      : `no elements ${start}..${end} on axis ${axis}`,
  gradient: (node, dy) => {
    const { axis, start, end } = node.attributes
    const shape = node.inputs[0].shape
    const zeros = (n: number): Tensor[] =>
      n === 0 ? [] : [constant(new Float32Array(sizeOf(shape.with(axis, n))), shape.with(axis, n))]
    return [concat([...zeros(start), dy, ...zeros(shape[axis] - end)], axis)]
  },
  lower: (emit, { attributes: { axis, start, end } }, [x]) =>
    emit.node('Slice', [
      x,
      emit.constant(int64(start), [1]),
      emit.constant(int64(end), [1]),
      emit.constant(int64(axis), [1]),
    ]),
}
/** Elements start..end (exclusive) of an axis. */
export const slice = (x: Tensor, axis: number, start: number, end: number): Tensor =>
  apply(sliceOp, [x], { axis, start, end })

const rollOp: Op<{ shift: number }> = {
  name: 'roll',
  shape: ([x], { shift }) =>
    shift > 0 && shift < (x.shape.at(-1) ?? 0) ? x.shape : `no ${shift} elements to pass on the last axis`,
  gradient: (node, dy) => [roll(dy, (dy.shape.at(-1) as number) - node.attributes.shift)],
  lower: (emit, { shape, attributes: { shift } }, [x]) => {
    const length = shape.at(-1) as number
    const axis = emit.constant(int64(-1), [1])
    const part = (start: number, end: number): string =>
      emit.node('Slice', [x, emit.constant(int64(start), [1]), emit.constant(int64(end), [1]), axis])
    return emit.node('Concat', [part(length - shift, length), part(0, length - shift)], { axis: -1n })
  },
}
/** Moves elements by `shift` places along the last axis; those shifted off the end reappear at the start. */
export const roll = (x: Tensor, shift: number): Tensor => apply(rollOp, [x], { shift })

const concatOp: Op<{ axis: number }> = {
  name: 'concat',
  shape: (xs, { axis }) => {
    if (xs.some((x) => x.shape.length !== xs[0].shape.length)) return 'the numbers of axes differ'
    if (!(axis in xs[0].shape)) return `there is no axis ${axis}`
    const length = xs.reduce((n, x) => n + x.shape[axis], 0)
    const shape = xs[0].shape.with(axis, length)
    const fits = xs.every((x) => sameShape(x.shape.with(axis, length), shape))
    return fits ? shape : `the shapes differ on other axes than ${axis}`
  },
  gradient: (node, dy) => {
    const { axis } = node.attributes
    let start = 0
    return node.inputs.map((x) => {
      const end = start + x.shape[axis]
      const part = slice(dy, axis, start, end)
      start = end
      return part
    })
  },
  lower: (emit, { attributes: { axis } }, inputs) => emit.node('Concat', inputs, { axis: BigInt(axis) }),
}
/** Joins along an axis. */
export const concat = (xs: readonly Tensor[], axis: number): Tensor =>
  xs.length === 1 ? xs[0] : apply(concatOp, xs, { axis })

const gatherOp: Op<undefined> = {
  name: 'gather',
  shape: ([table, rows]) =>
    table.shape.length === 2 && rows.dtype === 'int32'
      ? [...rows.shape, table.shape[1]]
      : 'needs a matrix and int32 row numbers',
  gradient: (node, dy) => {
    const [table, rows] = node.inputs
    return [apply(scatterAddOp, [rows, dy], { rows: table.shape[0] }), undefined]
  },
  lower: (emit, _node, inputs) => emit.node('Gather', inputs, { axis: 0n }),
}
/** Rows of a table (R, C) by number: rows of shape S give S x C. */
export const gather = (table: Tensor, rows: Tensor): Tensor => apply(gatherOp, [table, rows], undefined)

const scatterAddOp: Op<{ rows: number }> = {
  name: 'scatterAdd',
  shape: ([rows, values], attributes) =>
    rows.dtype === 'int32' && sameShape(rows.shape, values.shape.slice(0, -1))
      ? [attributes.rows, values.shape.at(-1) ?? 1]
      : 'needs int32 row numbers, one for each row of values',
  dtype: () => 'float32',
  gradient: (node, dy) => [undefined, gather(dy, node.inputs[0])],
  lower: (emit, node, [rows, values]) => {
    const zero = emit.constant(Float32Array.of(0), [])
    const table = emit.node('Expand', [zero, emit.constant(int64(...node.shape), [2])])
    const wide = emit.node('Cast', [rows], { to: 7n })
    const indices = emit.node('Unsqueeze', [wide, emit.constant(int64(-1), [1])])
    return emit.node('ScatterND', [table, indices, values], { reduction: 'add' })
  },
}
/** A table of zeros with the values added to its rows: the reverse of `gather`. */
export const scatterAdd = (rows: Tensor, values: Tensor, count: number): Tensor =>
  apply(scatterAddOp, [rows, values], { rows: count })

const writeRowsOp: Op<undefined> = {
  name: 'writeRows',
  shape: ([table, rows, values]) =>
    table.shape.length === 2 &&
    rows.dtype === 'int32' &&
    sameShape(values.shape, [rows.size, table.shape[1]]) &&
    rows.shape.length === 1
      ? table.shape
      : 'needs a matrix, int32 row numbers and a row for each',
  lower: (emit, node, [table, rows, values]) => {
    const shape = emit.constant(int64(node.inputs[1].size, 1), [2])
    const indices = emit.node('Cast', [emit.node('Reshape', [rows, shape])], { to: 7n })
    return emit.node('ScatterND', [table, indices, values])
  },
}
/** A table with rows overwritten. A row that is given more than once must be the same each time. */
export const writeRows = (table: Tensor, rows: Tensor, values: Tensor): Tensor =>
  apply(writeRowsOp, [table, rows, values], undefined)

const gatherElementsOp: Op<undefined> = {
  name: 'gatherElements',
  shape: ([x, ids]) =>
    x.shape.length === 2 && ids.dtype === 'int32' && ids.shape.length === 2 && ids.shape[0] === x.shape[0]
      ? ids.shape
      : 'needs a matrix and int32 column numbers for each of its rows',
  gradient: (node, dy) => {
    const [x, ids] = node.inputs
    return [scatterElements(ids, dy, x.shape[1]), undefined]
  },
  lower: (emit, _node, inputs) => emit.node('GatherElements', inputs, { axis: 1n }),
}
/** Elements of each row of a matrix (R, C) by their column numbers, (R, K). */
export const gatherElements = (x: Tensor, ids: Tensor): Tensor => apply(gatherElementsOp, [x, ids], undefined)

const scatterElementsOp: Op<{ columns: number }> = {
  name: 'scatterElements',
  shape: ([ids, values], { columns }) =>
    ids.dtype === 'int32' && ids.shape.length === 2 && sameShape(ids.shape, values.shape)
      ? [ids.shape[0], columns]
      : 'needs int32 column numbers, one for each value of a matrix',
  dtype: () => 'float32',
  gradient: (node, dy) => [undefined, gatherElements(dy, node.inputs[0])],
  lower: (emit, { shape }, [ids, values]) => {
    const zero = emit.constant(Float32Array.of(0), [])
    const zeros = emit.node('Expand', [zero, emit.constant(int64(...shape), [2])])
    return emit.node('ScatterElements', [zeros, ids, values], { axis: 1n, reduction: 'add' })
  },
}
/** Zeros (R, `columns`) with the values, (R, K), added to their elements: the reverse of `gatherElements`. */
export const scatterElements = (ids: Tensor, values: Tensor, columns: number): Tensor =>
  apply(scatterElementsOp, [ids, values], { columns })

const topKOp: Op<{ k: number }> = {
  name: 'topK',
  shape: ([x], { k }) =>
    x.shape.length === 2 && k >= 1 && k <= x.shape[1]
      ? [x.shape[0], k]
      : `needs a matrix with at least ${k} columns`,
  dtype: () => 'int32',
  lower: (emit, { attributes: { k } }, [x]) => {
    const count = emit.constant(int64(k), [1])
    const ids = emit.node('TopK', [x, count], { axis: -1n, largest: 1n, sorted: 1n }, '', 1)
    return emit.node('Cast', [ids], { to: 6n })
  },
}
/** Column numbers of the `k` largest elements of each row of a matrix, the largest first; ties go to the lower column. */
export const topK = (x: Tensor, k: number): Tensor => apply(topKOp, [x], { k })
