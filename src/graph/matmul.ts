/**
 * Matrix product with optional transposes, in two dimensions or batched. Transposes are folded into the product:
 * ONNX's `Gemm` for matrices, onnxruntime's `FusedMatMul` for batches, so that no transposed copy is made where a device has it.
 */
import { apply, type Op, sameShape, type Tensor } from './tensor.js'

interface Attributes {
  readonly transA: boolean
  readonly transB: boolean
}

const matmulOp: Op<Attributes> = {
  name: 'matmul',
  shape: ([a, b], { transA, transB }) => {
    if (a.shape.length < 2 || a.shape.length !== b.shape.length)
      return 'needs two matrices or two batches of them'
    const [m, k] = transA ? [a.shape.at(-1), a.shape.at(-2)] : [a.shape.at(-2), a.shape.at(-1)]
    const [k2, n] = transB ? [b.shape.at(-1), b.shape.at(-2)] : [b.shape.at(-2), b.shape.at(-1)]
    if (k !== k2) return `inner lengths ${k} and ${k2} differ`
    const batch = a.shape.slice(0, -2)
    if (!sameShape(batch, b.shape.slice(0, -2))) return 'the batches differ'
    return [...batch, m as number, n as number]
  },
  gradient: ({ inputs: [a, b], attributes: { transA, transB } }, dy) => [
    transA ? matmul(b, dy, { transA: transB, transB: true }) : matmul(dy, b, { transB: !transB }),
    transB ? matmul(dy, a, { transA: true, transB: transA }) : matmul(a, dy, { transA: !transA }),
  ],
  lower: (emit, { shape, attributes: { transA, transB } }, inputs) => {
    const attributes = { transA: BigInt(transA), transB: BigInt(transB) }
    if (shape.length === 2) return emit.node('Gemm', inputs, attributes)
    if (!emit.standard) return emit.node('FusedMatMul', inputs, attributes, 'com.microsoft')
    const axes = [...shape.keys()]
    const perm = [...axes.slice(0, -2), axes.length - 1, axes.length - 2]
    const [a, b] = inputs.map((operand, i) =>
      [transA, transB][i] ? emit.node('Transpose', [operand], { perm }) : operand,
    )
    return emit.node('MatMul', [a, b])
  },
}

/** (.., m, k) x (.., k, n) -> (.., m, n); `transA`, `transB` read an operand with its last two axes swapped. */
export const matmul = (
  a: Tensor,
  b: Tensor,
  { transA = false, transB = false }: Partial<Attributes> = {},
): Tensor => apply(matmulOp, [a, b], { transA, transB })
