/** The graphs of a model's parts, with inputs and results by name, as programs take them. */
import {
  add,
  clip,
  constant,
  equal,
  exp,
  gatherElements,
  gradOfAll,
  input,
  log,
  logSoftmax,
  mul,
  neg,
  reshape,
  sub,
  sum,
  type Tensor,
  where,
} from '../graph/index.js'
import type { Architecture, Batch, ModelConfig, Shapes, Tensors } from '../models/architecture.js'

/** A model, and how many tokens run through its programs. */
export interface Model {
  readonly architecture: Architecture
  readonly config: ModelConfig
  readonly batch: Batch
}

interface Graph {
  readonly inputs: Tensors
  readonly results: Tensors
}

/** An input for each tensor. */
const inputsOf = (shapes: Shapes): Tensors =>
  Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, input(shape)]))

/** The embedding: from the rows of its tables and its other tensors to the inputs of the first block and of later ones. */
export function embedGraph({ architecture, config, batch }: Model): Graph {
  const tokens = batch.windows * batch.length
  const tables = Object.entries(architecture.tables(config))
  const rows = Object.fromEntries(tables.map(([name, [, columns]]) => [name, input([tokens, columns])]))
  const w = inputsOf(architecture.embedTensors(config))
  return { inputs: { ...rows, ...w }, results: architecture.embed(config, rows, w) }
}

/** The name of a block's result in its programs; the prefix sets it apart from an input of the same name. */
export const result = (name: string): string => `after ${name}`

/** A block; `w` are the inputs that are weights. */
export function blockGraph({ architecture, config, batch }: Model, layer: number): Graph & { w: Tensors } {
  const reads = Object.entries(architecture.consumes(config, layer, batch))
  const activations = {
    x: input([batch.windows * batch.length, config.width]),
    ...Object.fromEntries(reads.map(([name, { shape }]) => [name, input(shape)])),
  }
  const w = inputsOf(architecture.blockTensors(config, layer))
  const given = ['x', ...Object.keys(architecture.produces(config, layer))]
  const block = architecture.block(config, layer, activations, w, batch)
  const results = Object.fromEntries(given.map((name) => [result(name), block[name]]))
  return { inputs: { ...activations, ...w }, results, w }
}

/** The same key for blocks with the same graph: they share their programs. */
export function blockKey({ architecture, config, batch }: Model, layer: number): string {
  const reads = Object.entries(architecture.consumes(config, layer, batch))
  return JSON.stringify([
    architecture.kind(config, layer),
    architecture.blockTensors(config, layer),
    reads.map(([name, { shape }]) => [name, shape]),
    Object.keys(architecture.produces(config, layer)),
  ])
}

/** The head's inputs for a slice of `slice` tokens: the residual stream and its own tensors. */
export function headInputs({ architecture, config }: Model, slice: number): { x: Tensor; outer: Tensors } {
  return { x: input([slice, config.width]), outer: inputsOf(architecture.headTensors(config)) }
}

/** Lower bound of the probability of all tokens but the top k, so that its logarithm is finite. */
export const leastRest = 1e-6

/** The target of the loss, see head.ts. */
type Goal = { readonly kind: 'teacher' | 'tokens' } | { readonly kind: 'top'; readonly k: number }

/** The loss of a slice: its sum, and at each position, (slice). */
export function lossGraph(
  model: Model,
  slice: number,
  goal: Goal,
): { inputs: Record<string, Tensor>; loss: Tensor; losses: Tensor } {
  const { architecture, config } = model
  const { x, outer } = headInputs(model, slice)
  const withLoss = (inputs: Record<string, Tensor>, parts: readonly Tensor[]) => ({
    inputs,
    loss: parts.map((part) => sum(part)).reduce((a, b) => add(a, b)),
    losses: reshape(
      parts.map((part) => sum(part, [1])).reduce((a, b) => add(a, b)),
      [slice],
    ),
  })
  const logProbabilities = logSoftmax(architecture.head(config, x, outer))
  if (goal.kind === 'teacher') {
    const { x: hidden, outer: own } = headInputs(model, slice)
    const expected = logSoftmax(architecture.head(config, hidden, own))
    const teacher = Object.entries(own).map(([name, tensor]) => [`teacher ${name}`, tensor])
    const inputs = { x, ...outer, hidden, ...Object.fromEntries(teacher) }
    return withLoss(inputs, [mul(exp(expected), sub(expected, logProbabilities))])
  }
  if (goal.kind === 'top') {
    const ids = input([slice, goal.k], 'int32')
    const expected = input([slice, goal.k])
    const rest = input([slice, 1])
    const picked = gatherElements(logProbabilities, ids)
    const own = clip(sub(1, sum(exp(picked), [1])), leastRest, 1)
    return withLoss({ x, ...outer, ids, logProbabilities: expected, rest }, [
      mul(exp(expected), sub(expected, picked)),
      mul(rest, sub(log(rest), log(own))),
    ])
  }
  // A next token of -1 matches no column: the position is not scored.
  const next = input([slice], 'int32')
  const columns = constant(Int32Array.from({ length: config.vocabulary }, (_, i) => i))
  const picked = where(equal(columns, reshape(next, [slice, 1])), logProbabilities, 0)
  return withLoss({ x, ...outer, next }, [neg(picked)])
}

/** From the gradients of all results, inputs `d <result>`, to those of the tensors `wrt`, outputs `d <name>`. */
export function backwardGraph(
  inputs: Tensors,
  results: Tensors,
  wrt: Tensors,
): { inputs: Tensors; outputs: Tensors } {
  const dy = Object.entries(results).map(([name, y]): [string, Tensor] => [`d ${name}`, input(y.shape)])
  const gradients = gradOfAll(
    Object.values(results).map((y, i) => [y, dy[i][1]]),
    Object.values(wrt),
  )
  return {
    inputs: { ...inputs, ...Object.fromEntries(dy) },
    outputs: Object.fromEntries(Object.keys(wrt).map((name, i) => [`d ${name}`, gradients[i]])),
  }
}
