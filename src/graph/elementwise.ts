/** Elementwise ops. Binary ops broadcast as in ONNX and NumPy: shapes are aligned at the right, and axes of length 1 stretch. */
import { sumTo } from './broadcast.js'
import { apply, type Op, type Operand, type Shape, sameShape, type Tensor, toTensor } from './tensor.js'

type Unary = Op<undefined>

/** The broadcast of two shapes, or the reason why there is none. */
export function broadcastShape(a: Shape, b: Shape): Shape | string {
  const rank = Math.max(a.length, b.length)
  const shape: number[] = []
  for (let i = 0; i < rank; i++) {
    const x = a[a.length - rank + i] ?? 1
    const y = b[b.length - rank + i] ?? 1
    if (x !== y && x !== 1 && y !== 1) return 'the shapes do not broadcast'
    shape.push(Math.max(x, y))
  }
  return shape
}

function binary(
  name: string,
  onnx: string,
  gradient: (a: Tensor, b: Tensor, dy: Tensor, y: Tensor) => [Tensor, Tensor],
): (a: Operand, b: Operand) => Tensor {
  const op: Op<undefined> = {
    name,
    shape: ([a, b]) => broadcastShape(a.shape, b.shape),
    gradient: (node, dy) => {
      const [a, b] = node.inputs
      const [da, db] = gradient(a, b, dy, node as Tensor)
      return [sumTo(da, a.shape), sumTo(db, b.shape)]
    },
    lower: (emit, _node, inputs) => emit.node(onnx, inputs),
  }
  return (a, b) => apply(op, [toTensor(a), toTensor(b)], undefined)
}

export const add = binary('add', 'Add', (_a, _b, dy) => [dy, dy])
export const sub = binary('sub', 'Sub', (_a, b, dy) => [dy, neg(sumTo(dy, b.shape))])
export const mul = binary('mul', 'Mul', (a, b, dy) => [mul(dy, b), mul(dy, a)])
export const div = binary('div', 'Div', (_a, b, dy, y) => [div(dy, b), neg(div(mul(dy, y), b))])

function unary(name: string, onnx: string, gradient: (x: Tensor, dy: Tensor, y: Tensor) => Tensor) {
  const op: Unary = {
    name,
    shape: ([x]) => x.shape,
    gradient: (node, dy) => [gradient(node.inputs[0], dy, node as Tensor)],
    lower: (emit, _node, inputs) => emit.node(onnx, inputs),
  }
  return (x: Tensor): Tensor => apply(op, [x], undefined)
}

export const neg = unary('neg', 'Neg', (_x, dy) => neg(dy))
export const exp = unary('exp', 'Exp', (_x, dy, y) => mul(dy, y))
export const log = unary('log', 'Log', (x, dy) => div(dy, x))
export const sqrt = unary('sqrt', 'Sqrt', (_x, dy, y) => div(mul(dy, 0.5), y))
export const tanh = unary('tanh', 'Tanh', (_x, dy, y) => mul(dy, sub(1, mul(y, y))))
export const sigmoid = unary('sigmoid', 'Sigmoid', (_x, dy, y) => mul(dy, mul(y, sub(1, y))))

const roundOp: Unary = {
  name: 'round',
  shape: ([x]) => x.shape,
  gradient: (_node, dy) => [dy],
  lower: (emit, _node, [x]) =>
    emit.node('Floor', [emit.node('Add', [x, emit.constant(Float32Array.of(0.5), [])])]),
}
/**
 * Rounds to the nearest integer, halves up: floor(x + 0.5), which unlike ONNX's Round gives no negative zero (integers
 * that are read back from a file have none) and runs on every device. The gradient is straight-through: rounding counts
 * as the identity.
 */
export const round = (x: Tensor): Tensor => apply(roundOp, [x], undefined)

/** x * sigmoid(x), the activation of SwiGLU. */
export function silu(x: Tensor): Tensor {
  return mul(x, sigmoid(x))
}

const geluOp: Unary = {
  name: 'gelu',
  shape: ([x]) => x.shape,
  gradient: (node, dy) => {
    const [x] = node.inputs
    const a = Math.sqrt(2 / Math.PI)
    const squares = mul(x, x)
    const t = tanh(mul(x, add(mul(squares, a * 0.044715), a)))
    const slope = mul(mul(x, sub(1, mul(t, t))), add(mul(squares, 3 * a * 0.044715), a))
    return [mul(dy, mul(add(add(t, 1), slope), 0.5))]
  },
  lower: (emit, _node, inputs) => emit.node('FastGelu', inputs, {}, 'com.microsoft'),
}
/** x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), the tanh form of the Gaussian unit (arXiv 1606.08415). */
export const gelu = (x: Tensor): Tensor => apply(geluOp, [x], undefined)

/** Squeezes values into (-cap, cap): cap tanh(x / cap). */
export function softcap(x: Tensor, cap: number): Tensor {
  return mul(tanh(mul(x, 1 / cap)), cap)
}

const clipOp: Op<{ lo: number; hi: number }> = {
  name: 'clip',
  shape: ([x], { lo, hi }) => (lo <= hi ? x.shape : `the lower bound ${lo} is above the upper bound ${hi}`),
  gradient: (node, dy) => {
    const inside = equal(node.inputs[0], node as Tensor)
    return [where(inside, dy, 0)]
  },
  lower: (emit, { attributes: { lo, hi } }, [x]) =>
    emit.node('Clip', [x, emit.constant(Float32Array.of(lo), []), emit.constant(Float32Array.of(hi), [])]),
}
/** Clamps to [lo, hi]; the gradient of clamped elements is 0. */
export const clip = (x: Tensor, lo: number, hi: number): Tensor => apply(clipOp, [x], { lo, hi })

const float16Op: Unary = {
  name: 'roundToFloat16',
  shape: ([x]) => x.shape,
  gradient: (_node, dy) => [dy],
  lower: (emit, _node, inputs) => {
    const half = emit.node('Cast', inputs, { to: 10n })
    return emit.node('Cast', [half], { to: 1n })
  },
}
/** Rounds to the nearest IEEE half, ties to even; the gradient is straight-through. */
export const roundToFloat16 = (x: Tensor): Tensor => apply(float16Op, [x], undefined)

function comparison(name: string, onnx: string) {
  const op: Op<undefined> = {
    name,
    shape: ([a, b]) => broadcastShape(a.shape, b.shape),
    dtype: () => 'bool',
    lower: (emit, _node, inputs) => emit.node(onnx, inputs),
  }
  return (a: Operand, b: Operand): Tensor => apply(op, [toTensor(a), toTensor(b)], undefined)
}
export const equal = comparison('equal', 'Equal')
export const less = comparison('less', 'Less')

const toFloatOp: Unary = {
  name: 'toFloat',
  shape: ([x]) => x.shape,
  dtype: () => 'float32',
  lower: (emit, _node, inputs) => emit.node('Cast', inputs, { to: 1n }),
}
/** 1 for true, 0 for false. Multiplying by it takes a third of the time of `where(x, y, 0)`. */
export const toFloat = (x: Tensor): Tensor => apply(toFloatOp, [x], undefined)

const toIntOp: Unary = {
  name: 'toInt',
  shape: ([x]) => x.shape,
  dtype: () => 'int32',
  lower: (emit, _node, inputs) => emit.node('Cast', inputs, { to: 6n }),
}
/** Whole numbers as int32, such as the rows of a table. */
export const toInt = (x: Tensor): Tensor => apply(toIntOp, [x], undefined)

const whereOp: Op<undefined> = {
  name: 'where',
  shape: ([c, a, b]) => {
    const branches = broadcastShape(a.shape, b.shape)
    return typeof branches === 'string' ? branches : broadcastShape(c.shape, branches)
  },
  dtype: ([, a]) => a.dtype,
  gradient: (node, dy) => {
    const [c, a, b] = node.inputs
    return [undefined, sumTo(where(c, dy, 0), a.shape), sumTo(where(c, 0, dy), b.shape)]
  },
  lower: (emit, _node, inputs) => emit.node('Where', inputs),
}
/** Elementwise `condition ? a : b`. */
export const where = (condition: Tensor, a: Operand, b: Operand): Tensor =>
  apply(whereOp, [condition, toTensor(a), toTensor(b)], undefined)

const straightOp: Op<undefined> = {
  name: 'straightThrough',
  shape: ([value, x, passes]) =>
    sameShape(value.shape, x.shape) && sameShape(value.shape, passes.shape)
      ? value.shape
      : 'the shapes differ',
  gradient: (node, dy) => [dy, mul(dy, node.inputs[2]), undefined],
  lower: (_emit, _node, [value]) => value,
}
/** `value`, whose gradient times `passes` also goes straight to `x`, from which `value` was rounded. */
export const straightThrough = (value: Tensor, x: Tensor, passes: Tensor): Tensor =>
  apply(straightOp, [value, x, passes], undefined)

const stopOp: Unary = {
  name: 'stopGradient',
  shape: ([x]) => x.shape,
  lower: (_emit, _node, [x]) => x,
}
/** The same value, through which no gradient flows. */
export const stopGradient = (x: Tensor): Tensor => apply(stopOp, [x], undefined)
