/**
 * Every op of the graph as a row: how it is built, the shape that is expected, and each element of its value as a plain
 * formula. The formula is evaluated in f64, so it is also what the gradients are compared with, by central differences.
 *
 * An input is read by `x(index)`: indexes are aligned at the right and an axis of length 1 repeats, as in broadcasting.
 */
import * as g from '../../src/graph/index.js'

export type Read = (index: readonly number[]) => number

export interface OpRow {
  readonly op: string
  readonly note?: string
  readonly inputs: readonly g.Shape[]
  readonly build: (...inputs: g.Tensor[]) => g.Tensor
  readonly shape: g.Shape
  readonly value: (index: readonly number[], ...inputs: Read[]) => number
  /** Inputs are positive: for logarithms, roots and divisors. */
  readonly positive?: boolean
  /** What the gradient is by definition, where it is not the derivative of the value. */
  readonly gradient?: 'straight-through' | 'none'
}

const range = (n: number): number[] => [...Array(n).keys()]
const total = (n: number, term: (k: number) => number): number => range(n).reduce((s, k) => s + term(k), 0)
const logTotal = (n: number, x: (k: number) => number): number => Math.log(total(n, (k) => Math.exp(x(k))))
/** An index with the last axis replaced. */
const at = (i: readonly number[], k: number): number[] => i.with(-1, k)
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x))

/** Halves to even. */
function roundEven(x: number): number {
  const floor = Math.floor(x)
  if (x - floor !== 0.5) return Math.round(x)
  return floor % 2 === 0 ? floor : floor + 1
}

/** To 11 significant bits: what an f16 holds of values that are not subnormal. */
function half(x: number): number {
  const step = 2 ** (Math.floor(Math.log2(Math.abs(x))) - 10)
  return roundEven(x / step) * step
}

const binaryShapes: readonly [note: string, a: g.Shape, b: g.Shape, result: g.Shape][] = [
  ['same shape', [2, 3], [2, 3], [2, 3]],
  ['vector with matrix', [3], [2, 3], [2, 3]],
  ['column with row', [2, 1], [1, 3], [2, 3]],
  ['scalar on the right', [2, 3], [], [2, 3]],
  ['inner axis', [2, 3, 2], [2, 1, 2], [2, 3, 2]],
]
const binaries: readonly [
  string,
  (a: g.Operand, b: g.Operand) => g.Tensor,
  (a: number, b: number) => number,
][] = [
  ['add', g.add, (a, b) => a + b],
  ['sub', g.sub, (a, b) => a - b],
  ['mul', g.mul, (a, b) => a * b],
  ['div', g.div, (a, b) => a / b],
]
const unaries: readonly [string, (x: g.Tensor) => g.Tensor, (x: number) => number][] = [
  ['neg', g.neg, (x) => -x],
  ['exp', g.exp, Math.exp],
  ['log', g.log, Math.log],
  ['sqrt', g.sqrt, Math.sqrt],
  ['rsqrt', g.rsqrt, (x) => 1 / Math.sqrt(x)],
  ['tanh', g.tanh, Math.tanh],
  ['sigmoid', g.sigmoid, sigmoid],
  ['silu', g.silu, (x) => x * sigmoid(x)],
  ['gelu', g.gelu, (x) => (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))],
  ['softcap', (x) => g.softcap(x, 1.5), (x) => 1.5 * Math.tanh(x / 1.5)],
]
const transposes = [
  [false, false],
  [false, true],
  [true, false],
  [true, true],
] as const

/** Products of (m, k) and (k, n) with m 2, k 3, n 4, each of them transposed or not, in batches of `batch`. */
function products(batch: g.Shape): OpRow[] {
  return transposes.map(([transA, transB]) => ({
    op: 'matmul',
    note: `${batch.length} batch axes${transA ? ', a transposed' : ''}${transB ? ', b transposed' : ''}`,
    inputs: [
      [...batch, ...(transA ? [3, 2] : [2, 3])],
      [...batch, ...(transB ? [4, 3] : [3, 4])],
    ],
    build: (a, b) => g.matmul(a, b, { transA, transB }),
    shape: [...batch, 2, 4],
    value: (i, a, b) => {
      const [lead, row, column] = [i.slice(0, -2), i.at(-2) as number, i.at(-1) as number]
      return total(
        3,
        (k) =>
          a([...lead, ...(transA ? [k, row] : [row, k])]) *
          b([...lead, ...(transB ? [column, k] : [k, column])]),
      )
    },
  }))
}

const rowNumbers = Int32Array.of(3, 0, 3)
const columnNumbers = [
  [2, 0],
  [1, 3],
  [3, 3],
]

export const opRows: readonly OpRow[] = [
  ...binaries.flatMap(([op, build, value]) =>
    binaryShapes.map(
      ([note, a, b, shape]): OpRow => ({
        op,
        note,
        inputs: [a, b],
        build: (x, y) => build(x, y),
        shape,
        value: (i, x, y) => value(x(i), y(i)),
        positive: op === 'div',
      }),
    ),
  ),
  ...binaries.map(
    ([op, build, value]): OpRow => ({
      op,
      note: 'number on the left',
      inputs: [[2, 3]],
      build: (x) => build(1.5, x),
      shape: [2, 3],
      value: (i, x) => value(1.5, x(i)),
      positive: op === 'div',
    }),
  ),
  ...unaries.map(
    ([op, build, value]): OpRow => ({
      op,
      inputs: [[2, 3]],
      build: (x) => build(x),
      shape: [2, 3],
      value: (i, x) => value(x(i)),
      positive: ['log', 'sqrt', 'rsqrt'].includes(op),
    }),
  ),
  {
    op: 'round',
    inputs: [[4, 8]],
    build: (x) => g.round(g.mul(x, 4)),
    shape: [4, 8],
    value: (i, x) => Math.floor(4 * x(i) + 0.5),
    gradient: 'straight-through',
  },
  {
    op: 'round',
    note: 'halves go up',
    inputs: [[6]],
    build: (x) => g.round(g.add(g.mul(x, 0), g.constant([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5]))),
    shape: [6],
    value: ([i]) => [-2, -1, 0, 1, 2, 3][i],
    gradient: 'straight-through',
  },
  {
    op: 'gatherElements',
    inputs: [[3, 4]],
    build: (x) => g.gatherElements(x, g.constant(Int32Array.from(columnNumbers.flat()), [3, 2])),
    shape: [3, 2],
    value: ([i, k], x) => x([i, columnNumbers[i][k]]),
  },
  {
    op: 'scatterElements',
    inputs: [[3, 2]],
    build: (x) => g.scatterElements(g.constant(Int32Array.from(columnNumbers.flat()), [3, 2]), x, 4),
    shape: [3, 4],
    value: ([i, j], x) => total(2, (k) => (columnNumbers[i][k] === j ? x([i, k]) : 0)),
  },
  {
    op: 'topK',
    inputs: [[3, 6]],
    build: (x) => g.topK(x, 4),
    shape: [3, 4],
    value: ([i, k], x) => range(6).sort((a, b) => x([i, b]) - x([i, a]))[k],
    gradient: 'none',
  },
  {
    op: 'topK',
    note: 'of equal ones the first',
    inputs: [[2, 5]],
    build: (x) => g.topK(g.where(g.less(x, 1e9), 1, 0), 3),
    shape: [2, 3],
    value: ([, k]) => k,
    gradient: 'none',
  },
  {
    op: 'roundToFloat16',
    inputs: [[4, 8]],
    build: (x) => g.roundToFloat16(g.mul(x, 100)),
    shape: [4, 8],
    value: (i, x) => half(Math.fround(x(i) * 100)),
    gradient: 'straight-through',
  },
  {
    op: 'stopGradient',
    inputs: [[2, 3]],
    build: (x) => g.stopGradient(x),
    shape: [2, 3],
    value: (i, x) => x(i),
    gradient: 'none',
  },
  {
    op: 'stopGradient',
    note: 'of one factor',
    inputs: [[2, 3], [3]],
    build: (x, y) => g.mul(g.add(x, g.stopGradient(g.exp(g.constant([1, 2, 3])))), y),
    shape: [2, 3],
    value: (i, x, y) => (x(i) + Math.exp(1 + i[1])) * y(i),
  },
  {
    op: 'straightThrough',
    inputs: [[2, 3]],
    build: (x) =>
      g.straightThrough(g.stopGradient(g.round(x)), x, g.constant(new Float32Array(6).fill(4), [2, 3])),
    shape: [2, 3],
    value: (i, x) => Math.floor(x(i) + 0.5),
    gradient: 'straight-through',
  },
  {
    op: 'straightThrough',
    note: 'to both, and to what it was rounded from by half',
    inputs: [
      [2, 3],
      [2, 3],
    ],
    build: (x, y) =>
      g.straightThrough(g.add(x, y), g.mul(y, 0), g.constant(new Float32Array(6).fill(0.5), [2, 3])),
    shape: [2, 3],
    value: (i, x, y) => x(i) + y(i),
  },
  {
    op: 'toFloat',
    inputs: [[4, 8]],
    build: (x) => g.toFloat(g.less(0, x)),
    shape: [4, 8],
    value: (i, x) => (x(i) > 0 ? 1 : 0),
    gradient: 'none',
  },
  {
    op: 'toInt',
    inputs: [[4, 8]],
    build: (x) => g.toInt(g.round(g.mul(x, 10))),
    shape: [4, 8],
    value: (i, x) => Math.floor(10 * x(i) + 0.5),
    gradient: 'none',
  },
  {
    op: 'clip',
    inputs: [[4, 8]],
    build: (x) => g.clip(x, -0.4, 0.7),
    shape: [4, 8],
    value: (i, x) => Math.min(0.7, Math.max(-0.4, x(i))),
  },
  {
    op: 'less',
    note: 'in where',
    inputs: [[4, 3], [3]],
    build: (a, b) => g.where(g.less(a, b), a, g.mul(b, 2)),
    shape: [4, 3],
    value: (i, a, b) => (a(i) < b(i) ? a(i) : 2 * b(i)),
  },
  {
    op: 'equal',
    note: 'in where',
    inputs: [[4, 3]],
    build: (a) => g.where(g.equal(g.constant([1, 2, 3]), 2), a, g.mul(a, 2)),
    shape: [4, 3],
    value: (i, a) => (i[1] === 1 ? a(i) : 2 * a(i)),
  },
  {
    op: 'where',
    note: 'all three broadcast',
    inputs: [[2, 1], [3]],
    build: (a, b) => g.where(g.less(g.constant([1, 2, 3, 4], [4, 1, 1]), 2.5), a, b),
    shape: [4, 2, 3],
    value: (i, a, b) => (i[0] < 2 ? a(i) : b(i)),
  },
  {
    op: 'where',
    note: 'numbers',
    inputs: [[5]],
    build: (a) => g.mul(a, g.where(g.less(a, 0.1), -1, 3)),
    shape: [5],
    value: (i, a) => a(i) * (a(i) < 0.1 ? -1 : 3),
  },
  ...products([]),
  ...products([3]),
  ...products([2, 3]),
  {
    op: 'sum',
    note: 'all',
    inputs: [[2, 3]],
    build: (x) => g.sum(x),
    shape: [1, 1],
    value: (_, x) => total(6, (k) => x([Math.floor(k / 3), k % 3])),
  },
  {
    op: 'sum',
    note: 'first and last axis',
    inputs: [[2, 3, 4]],
    build: (x) => g.sum(x, [0, 2]),
    shape: [1, 3, 1],
    value: ([, j], x) => total(8, (k) => x([k >> 2, j, k & 3])),
  },
  {
    op: 'mean',
    note: 'all',
    inputs: [[2, 3]],
    build: (x) => g.mean(x),
    shape: [1, 1],
    value: (_, x) => total(6, (k) => x([Math.floor(k / 3), k % 3])) / 6,
  },
  {
    op: 'mean',
    note: 'middle axis',
    inputs: [[2, 3, 4]],
    build: (x) => g.mean(x, [1]),
    shape: [2, 1, 4],
    value: ([i, , k], x) => total(3, (j) => x([i, j, k])) / 3,
  },
  {
    op: 'softmax',
    inputs: [[2, 3, 4]],
    build: (x) => g.softmax(x),
    shape: [2, 3, 4],
    value: (i, x) => Math.exp(x(i) - logTotal(4, (k) => x(at(i, k)))),
  },
  {
    op: 'logSoftmax',
    inputs: [[3, 4]],
    build: (x) => g.logSoftmax(x),
    shape: [3, 4],
    value: (i, x) => x(i) - logTotal(4, (k) => x(at(i, k))),
  },
  {
    op: 'rmsNorm',
    inputs: [[3, 4], [4]],
    build: (x, w) => g.rmsNorm(x, w, 0.01),
    shape: [3, 4],
    value: (i, x, w) => (x(i) * w(i)) / Math.sqrt(total(4, (k) => x(at(i, k)) ** 2) / 4 + 0.01),
  },
  {
    op: 'rmsNorm',
    note: 'three axes',
    inputs: [[2, 2, 4], [4]],
    build: (x, w) => g.rmsNorm(x, w, 1e-5),
    shape: [2, 2, 4],
    value: (i, x, w) => (x(i) * w(i)) / Math.sqrt(total(4, (k) => x(at(i, k)) ** 2) / 4 + 1e-5),
  },
  {
    op: 'expand',
    inputs: [[2, 1]],
    build: (x) => g.expand(x, [3, 2, 4]),
    shape: [3, 2, 4],
    value: (i, x) => x(i),
  },
  {
    op: 'reshape',
    inputs: [[2, 6]],
    build: (x) => g.reshape(x, [3, 4]),
    shape: [3, 4],
    value: ([i, j], x) => x([Math.floor((4 * i + j) / 6), (4 * i + j) % 6]),
  },
  {
    op: 'transpose',
    inputs: [[2, 3, 4]],
    build: (x) => g.transpose(x, [2, 0, 1]),
    shape: [4, 2, 3],
    value: ([k, i, j], x) => x([i, j, k]),
  },
  ...[
    [0, 2],
    [1, 3],
    [2, 5],
    [0, 5],
  ].map(
    ([start, end]): OpRow => ({
      op: 'slice',
      note: `${start}..${end} of 5`,
      inputs: [[2, 5, 2]],
      build: (x) => g.slice(x, 1, start, end),
      shape: [2, end - start, 2],
      value: ([i, j, k], x) => x([i, j + start, k]),
    }),
  ),
  ...[1, 2, 4].map(
    (shift): OpRow => ({
      op: 'roll',
      note: `by ${shift} of 5`,
      inputs: [[2, 5]],
      build: (x) => g.roll(x, shift),
      shape: [2, 5],
      value: ([i, j], x) => x([i, (j - shift + 5) % 5]),
    }),
  ),
  {
    op: 'concat',
    inputs: [
      [2, 1],
      [2, 3],
      [2, 2],
    ],
    build: (...xs) => g.concat(xs, 1),
    shape: [2, 6],
    value: ([i, j], a, b, c) => (j < 1 ? a([i, j]) : j < 4 ? b([i, j - 1]) : c([i, j - 4])),
  },
  {
    op: 'concat',
    note: 'twice the same, first axis',
    inputs: [[2, 3]],
    build: (x) => g.concat([x, x], 0),
    shape: [4, 3],
    value: ([i, j], x) => x([i % 2, j]),
  },
  {
    op: 'gather',
    note: 'a row twice',
    inputs: [[5, 2]],
    build: (table) => g.gather(table, g.constant(rowNumbers)),
    shape: [3, 2],
    value: ([i, j], table) => table([rowNumbers[i], j]),
  },
  {
    op: 'gather',
    note: 'a matrix of rows',
    inputs: [[5, 2]],
    build: (table) => g.gather(table, g.constant(Int32Array.of(1, 4, 4, 0), [2, 2])),
    shape: [2, 2, 2],
    value: ([i, j, k], table) => table([[1, 4, 4, 0][2 * i + j], k]),
  },
  {
    op: 'writeRows',
    note: 'a row twice with the same values',
    inputs: [
      [5, 2],
      [1, 2],
    ],
    build: (table, row) => g.writeRows(table, g.constant(Int32Array.of(3, 3)), g.expand(row, [2, 2])),
    shape: [5, 2],
    value: ([i, j], table, row) => (i === 3 ? row([0, j]) : table([i, j])),
    gradient: 'none',
  },
  {
    op: 'scatterAdd',
    note: 'a row twice',
    inputs: [[3, 2]],
    build: (values) => g.scatterAdd(g.constant(rowNumbers), values, 5),
    shape: [5, 2],
    value: ([i, j], values) => total(3, (k) => (rowNumbers[k] === i ? values([k, j]) : 0)),
  },
]
