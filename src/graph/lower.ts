/**
 * Lowering of a graph to an ONNX model. Every op emits its own nodes; this file walks the graph, and `onnx.ts` writes the
 * bytes. Any tensor can be an input, not only leaves: the program is cut there, and the nodes before it are left out. So
 * a backward program can take activations that the forward program has kept, and one graph can give several programs.
 */
import { topological } from './grad.js'
import { elementTypes, encodeModel, type Initializer, type Node, type Value } from './onnx.js'
import { type Emitter, GraphError, type Tensor } from './tensor.js'

/** The inputs and outputs of a program, by name. */
export interface ProgramGraph {
  readonly inputs: Readonly<Record<string, Tensor>>
  readonly outputs: Readonly<Record<string, Tensor>>
}

const opsets = { '': 17, 'com.microsoft': 1 }

/**
 * The ONNX model (serialized ModelProto) of a graph.
 * @param standard see `Emitter.standard`
 */
export function lower({ inputs, outputs }: ProgramGraph, standard = false): Uint8Array {
  const nodes: Node[] = []
  const initializers: Initializer[] = []
  const produced = new Set<string>()
  const emit: Emitter = {
    standard,
    node(type, nodeInputs, attributes = {}, domain = '', number = 0) {
      const output = `%v${nodes.length}`
      const unused = Array.from({ length: number }, (_, i) => `${output}.${i}`)
      nodes.push({ type, domain, attributes, inputs: nodeInputs, outputs: [...unused, output] })
      produced.add(output)
      return output
    },
    constant(values, shape) {
      const name = `%c${initializers.length}`
      initializers.push({ name, shape, values })
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
  // A node's output takes the name of the program's output; only inputs, constants and repeated outputs are copied.
  const renamed = new Map<string, string>()
  for (const [name, tensor] of Object.entries(outputs)) {
    if (name in inputs) throw new GraphError(`lower: "${name}" names an input and an output`)
    const source = names.get(tensor) as string
    if (produced.has(source) && !renamed.has(source)) renamed.set(source, name)
    else nodes.push({ type: 'Identity', domain: '', attributes: {}, inputs: [source], outputs: [name] })
  }
  const rename = (name: string): string => renamed.get(name) ?? name
  for (const node of nodes) {
    node.inputs = node.inputs.map(rename)
    node.outputs = node.outputs.map(rename)
  }

  // Leaves out nodes that no output needs: an op need not use all of its inputs.
  const used = new Set(Object.keys(outputs))
  const needed = nodes.toReversed().filter((node) => {
    const kept = node.outputs.some((name) => used.has(name))
    if (kept) for (const name of node.inputs) used.add(name)
    return kept
  })
  return encodeModel({
    name: 'quench',
    opsets,
    nodes: needed.toReversed(),
    initializers: initializers.filter(({ name }) => used.has(name)),
    inputs: Object.entries(inputs)
      .filter(([name]) => used.has(name))
      .map(describe),
    outputs: Object.entries(outputs).map(describe),
  })
}

const describe = ([name, { dtype, shape }]: [string, Tensor]): Value => ({
  name,
  elementType: elementTypes[dtype],
  shape,
})
