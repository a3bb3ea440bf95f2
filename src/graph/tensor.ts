/**
 * Symbolic tensors. A `Tensor` is a node of an expression graph: the op that makes it, the op's inputs, and the shape,
 * which is known when the graph is built. Nothing is computed here; `lower.ts` turns a graph into ONNX and the runtime
 * runs it.
 *
 * An op is one definition: its shape rule, its gradient rule and its ONNX lowering. Errors name the op and the shapes.
 */
import { QuenchError } from '../errors.js'
import type { Attribute } from './onnx.js'

export type DType = 'float32' | 'int32' | 'bool'
export type Shape = readonly number[]
export type TypedArray = Float32Array | Int32Array

/** An inconsistent graph, named by op and shapes: a bug in the caller. */
export class GraphError extends QuenchError {
  override name = 'GraphError'
}

/** Writes ONNX nodes; handed to `Op.lower`. */
export interface Emitter {
  /** Only ops of standard ONNX that every device has may be emitted, none of onnxruntime's own. */
  readonly standard: boolean
  /** Adds a node and returns the name of its output number `output`, by default 0. */
  node(
    type: string,
    inputs: string[],
    attributes?: Record<string, Attribute>,
    domain?: string,
    output?: number,
  ): string
  /** Adds an initializer and returns its name. */
  constant(values: Float32Array | Int32Array | BigInt64Array, shape: Shape): string
}

export interface Op<A = undefined> {
  readonly name: string
  /** Shape of the result, or the reason why the inputs do not fit. */
  shape(inputs: readonly Tensor[], attributes: A): Shape | string
  /** Type of the result; without it, that of the first input. */
  readonly dtype?: (inputs: readonly Tensor[], attributes: A) => DType
  /**
   * Gradients with respect to the inputs, given that with respect to the result (reverse-mode differentiation);
   * `undefined` for an input without a gradient. Absent: the op is not differentiable and stops gradients.
   */
  readonly gradient?: (node: Tensor<A>, dy: Tensor) => (Tensor | undefined)[]
  /** Emits ONNX for the op and returns the name of the result. */
  lower(emit: Emitter, node: Tensor<A>, inputs: string[]): string
}

let nextId = 0

export class Tensor<A = unknown> {
  readonly id = nextId++
  constructor(
    readonly op: Op<A>,
    readonly inputs: readonly Tensor[],
    readonly attributes: A,
    readonly shape: Shape,
    readonly dtype: DType,
  ) {}

  /** Number of elements. */
  get size(): number {
    return sizeOf(this.shape)
  }
}

export const sizeOf = (shape: Shape): number => shape.reduce((n, d) => n * d, 1)
export const sameShape = (a: Shape, b: Shape): boolean =>
  a.length === b.length && a.every((d, i) => d === b[i])

/** Makes a node. @throws GraphError if the inputs do not fit the op's shape rule */
export function apply<A>(op: Op<A>, inputs: readonly Tensor[], attributes: A): Tensor {
  const shape = op.shape(inputs, attributes)
  if (typeof shape === 'string') {
    const shapes = inputs.map((t) => `[${t.shape.join(', ')}]`).join(' and ')
    throw new GraphError(`${op.name}(${shapes}): ${shape}`)
  }
  const dtype = op.dtype?.(inputs, attributes) ?? inputs[0].dtype
  // A node is only passed back to its own op, so erasing the type of its attributes is safe.
  return new Tensor(op, inputs, attributes, shape, dtype) as Tensor
}

const leaf = (name: string): Op<unknown> => ({
  name,
  shape: () => 'a leaf has no shape rule',
  lower: () => {
    throw new GraphError(`an ${name} was used by a program that does not list it among its inputs`)
  },
})

const inputOp = leaf('input')
/** A value that is fed to the program on every run. */
export const input = (shape: Shape, dtype: DType = 'float32'): Tensor =>
  new Tensor(inputOp, [], undefined, shape, dtype)

const constantOp: Op<TypedArray> = {
  name: 'constant',
  shape: () => 'a leaf has no shape rule',
  lower: (emit, node) => emit.constant(node.attributes, node.shape),
}
/** A value that is part of the program. Without a shape, a scalar or a vector. */
export function constant(values: number | readonly number[] | TypedArray, shape?: Shape): Tensor {
  const data =
    typeof values === 'number'
      ? Float32Array.of(values)
      : values instanceof Float32Array || values instanceof Int32Array
        ? values
        : Float32Array.from(values)
  const dims = shape ?? (typeof values === 'number' ? [] : [data.length])
  if (sizeOf(dims) !== data.length)
    throw new GraphError(`constant: ${data.length} values do not fill [${dims.join(', ')}]`)
  return new Tensor(constantOp, [], data, dims, data instanceof Int32Array ? 'int32' : 'float32') as Tensor
}

export type Operand = Tensor | number
export const toTensor = (x: Operand): Tensor => (typeof x === 'number' ? constant(x) : x)
