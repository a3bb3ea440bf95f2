/**
 * Lowering: a graph becomes an ONNX model. Every op emits its own nodes; this file walks the graph and writes the
 * protobuf. Any tensor can be named as an input, not only leaves: the program is cut there and what lies behind it is
 * left out. That is how a backward program takes the activations that the forward program has kept, and how one graph
 * gives several programs.
 */
import onnxProto from 'onnx-proto'
import { topological } from './grad.js'
import {
  type DType,
  type Emitter,
  GraphError,
  type OnnxAttribute,
  type Shape,
  type Tensor,
} from './tensor.js'

const { onnx } = onnxProto

/** What a program reads and gives, by name. */
export interface ProgramGraph {
  readonly inputs: Readonly<Record<string, Tensor>>
  readonly outputs: Readonly<Record<string, Tensor>>
}

const elementType: Record<DType, number> = { float32: 1, int32: 6, bool: 9 }
const opset = [
  { domain: '', version: 17 },
  { domain: 'com.microsoft', version: 1 },
]

/** The ONNX model (serialized ModelProto) of a graph. */
export function lower({ inputs, outputs }: ProgramGraph): Uint8Array {
  const nodes: onnxProto.onnx.INodeProto[] = []
  const initializers: onnxProto.onnx.ITensorProto[] = []
  const produced = new Set<string>()
  const emit: Emitter = {
    node(type, nodeInputs, attributes = {}, domain = '', number = 0) {
      const output = `%v${nodes.length}`
      const unused = Array.from({ length: number }, (_, i) => `${output}.${i}`)
      const attribute = Object.entries(attributes).map(([name, value]) => encodeAttribute(name, value))
      nodes.push({ opType: type, domain, input: nodeInputs, output: [...unused, output], attribute })
      produced.add(output)
      return output
    },
    constant(values, shape) {
      const name = `%c${initializers.length}`
      const dataType = values instanceof Float32Array ? 1 : values instanceof Int32Array ? 6 : 7
      const rawData = new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
      initializers.push({ name, dataType, dims: [...shape], rawData })
      return name
    },
  }

  const names = new Map<Tensor, string>()
  for (const [name, tensor] of Object.entries(inputs)) names.set(tensor, name)
  const roots = Object.values(outputs)
  for (const node of topological(roots, new Set(names.keys()))) {
    if (names.has(node)) continue
    names.set(
      node,
      node.op.lower(
        emit,
        node,
        node.inputs.map((i) => names.get(i) as string),
      ),
    )
  }
  // A node's output takes the name of the program's output; only what is an input itself, or stands twice, is copied.
  const renamed = new Map<string, string>()
  for (const [name, tensor] of Object.entries(outputs)) {
    if (name in inputs) throw new GraphError(`lower: "${name}" names an input and an output`)
    const source = names.get(tensor) as string
    if (produced.has(source) && !renamed.has(source)) renamed.set(source, name)
    else nodes.push({ opType: 'Identity', input: [source], output: [name] })
  }
  const rename = (name: string): string => renamed.get(name) ?? name
  for (const node of nodes) {
    node.input = (node.input ?? []).map(rename)
    node.output = (node.output ?? []).map(rename)
  }

  // An op may not have used all that it was given; what no output needs is left out.
  const used = new Set(Object.keys(outputs))
  const needed = nodes.toReversed().filter((n) => {
    const kept = n.output?.some((name) => used.has(name)) ?? false
    if (kept) for (const name of n.input ?? []) used.add(name)
    return kept
  })
  const describe = ([name, t]: [string, Tensor]) => valueInfo(name, t.dtype, t.shape)
  return onnx.ModelProto.encode({
    irVersion: 8,
    opsetImport: opset,
    producerName: 'quench',
    graph: {
      name: 'quench',
      node: needed.toReversed(),
      initializer: initializers.filter(({ name }) => used.has(name as string)),
      input: Object.entries(inputs)
        .filter(([name]) => used.has(name))
        .map(describe),
      output: Object.entries(outputs).map(describe),
    },
  }).finish()
}

function encodeAttribute(name: string, value: OnnxAttribute): onnxProto.onnx.IAttributeProto {
  const { AttributeType } = onnx.AttributeProto
  if (typeof value === 'bigint') return { name, type: AttributeType.INT, i: Number(value) }
  if (typeof value === 'number') return { name, type: AttributeType.FLOAT, f: value }
  if (typeof value === 'string') return { name, type: AttributeType.STRING, s: Buffer.from(value) }
  return { name, type: AttributeType.INTS, ints: [...value] }
}

function valueInfo(name: string, dtype: DType, shape: Shape): onnxProto.onnx.IValueInfoProto {
  const dim = shape.map((dimValue) => ({ dimValue }))
  return { name, type: { tensorType: { elemType: elementType[dtype], shape: { dim } } } }
}
