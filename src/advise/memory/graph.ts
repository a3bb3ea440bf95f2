/**
 * A computation graph with the sizes of its tensors but without their values: what `ggml_cgraph` is to llama.cpp's memory
 * planning. Order and views are kept as ggml keeps them, since both decide what the allocator can reuse.
 * Source: ggml_visit_parents_graph and ggml_build_forward_expand in ggml.c.
 */

type Shape = readonly [number, number, number, number]

/** Operations that may write over one of their operands (`ggml_op_can_inplace`). */
const inPlace = new Set(['add', 'add_id', 'sub', 'mul', 'div', 'scale', 'sqr', 'sqrt', 'unary', 'rope'])
for (const op of ['rms_norm', 'clamp', 'soft_max']) inPlace.add(op)

export class Tensor {
  readonly bytes: number
  /** Whether its result stays until the graph ends. */
  output = false

  constructor(
    readonly op: string,
    readonly shape: Shape,
    readonly elementBytes: number,
    readonly sources: readonly Tensor[] = [],
    readonly kind: 'node' | 'input' | 'external' = 'node',
    /** The tensor whose memory it looks at; never a view itself. */
    readonly viewOf?: Tensor,
    /** Whether rows lie one behind the other. */
    readonly contiguous = true,
  ) {
    this.bytes = elementBytes * shape.reduce((product, n) => product * n, 1)
  }

  /** Whether ggml has it among the leaves of the graph. */
  get leaf(): boolean {
    return this.op === 'none'
  }

  get canReuse(): boolean {
    return inPlace.has(this.op)
  }

  /** Whether type, sizes and strides are the same (`ggml_are_same_layout`). */
  laidOutLike(other: Tensor): boolean {
    return (
      this.elementBytes === other.elementBytes &&
      this.contiguous === other.contiguous &&
      this.shape.every((n, i) => n === other.shape[i])
    )
  }
}

const full = (shape: readonly number[]): Shape => [shape[0], shape[1] ?? 1, shape[2] ?? 1, shape[3] ?? 1]

export const F32 = 4
export const F16 = 2
export const I32 = 4
export const I64 = 8

/** The result of an operation. @param shape row length first */
export const op = (name: string, shape: readonly number[], sources: readonly Tensor[], bytes = F32): Tensor =>
  new Tensor(name, full(shape), bytes, sources)

/** What is filled in before the graph runs. */
export const input = (shape: readonly number[], bytes: number): Tensor =>
  new Tensor('none', full(shape), bytes, [], 'input')

/** A weight or a part of the cache: memory that is not the graph's. */
export const external = (shape: readonly number[] = [1], bytes = F32): Tensor =>
  new Tensor('none', full(shape), bytes, [], 'external')

/** The same memory in another shape. @param contiguous false for a part of longer rows or a permutation */
export const view = (of: Tensor, shape: readonly number[], contiguous = true): Tensor =>
  new Tensor('view', full(shape), of.elementBytes, [of], 'node', of.viewOf ?? of, contiguous)

/** An operation on each element, or with a weight that is broadcast: the result has the shape of `of`. */
export const like = (name: string, of: Tensor, ...others: readonly Tensor[]): Tensor =>
  new Tensor(name, of.shape, of.elementBytes, [of, ...others])

/** Root mean square normalization, as a rule with a weight. */
export function norm(of: Tensor, weighted = true): Tensor {
  const normed = like('rms_norm', of)
  return weighted ? like('mul', normed, external()) : normed
}

export class Graph {
  readonly leaves: Tensor[] = []
  readonly nodes: Tensor[] = []
  private readonly seen = new Set<Tensor>()

  /** Appends a tensor behind everything that it is computed from. */
  expand(tensor: Tensor): void {
    if (this.seen.has(tensor)) return
    this.seen.add(tensor)
    for (const source of tensor.sources) this.expand(source)
    if (tensor.leaf) this.leaves.push(tensor)
    else this.nodes.push(tensor)
  }
}
