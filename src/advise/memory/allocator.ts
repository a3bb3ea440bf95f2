/**
 * How much memory a graph takes: a simulation of ggml's graph allocator, which places every result where an earlier one is no
 * longer needed. It is exact where the graph is, so compute buffers need no rule of thumb.
 * Source: ggml-alloc.c of llama.cpp v0.5.0 (ggml_gallocr_alloc_graph_impl, ggml_dyn_tallocr_alloc).
 */
import type { Graph, Tensor } from './graph.js'

const endless = Number.MAX_SAFE_INTEGER / 2

interface Block {
  offset: number
  size: number
}

/** Places of one buffer. */
class Places {
  /** By offset; the last one is the endless rest. */
  private readonly free: Block[] = [{ offset: 0, size: endless }]
  used = 0

  constructor(private readonly alignment: number) {}

  private padded(bytes: number): number {
    return Math.ceil(bytes / this.alignment) * this.alignment
  }

  /** The smallest free block that is large enough; of equal ones the last, and the rest only if there is no other. */
  allocate(bytes: number): number {
    const size = this.padded(bytes)
    let best = this.free.length - 1
    let bestSize = endless * 2
    for (let i = 0; i < this.free.length - 1; i++)
      if (this.free[i].size >= size && this.free[i].size <= bestSize) {
        best = i
        bestSize = this.free[i].size
      }
    const block = this.free[best]
    const { offset } = block
    block.offset += size
    block.size -= size
    if (block.size === 0) this.free.splice(best, 1)
    this.used = Math.max(this.used, offset + size)
    return offset
  }

  release(offset: number, bytes: number): void {
    const size = this.padded(bytes)
    for (const [i, block] of this.free.entries()) {
      if (block.offset + block.size === offset) {
        block.size += size
        const next = this.free[i + 1]
        if (next && block.offset + block.size === next.offset) {
          block.size += next.size
          this.free.splice(i + 1, 1)
        }
        return
      }
      if (offset + size === block.offset) {
        block.offset = offset
        block.size += size
        const before = this.free[i - 1]
        if (before && before.offset + before.size === block.offset) {
          before.size += block.size
          this.free.splice(i, 1)
        }
        return
      }
    }
    const at = this.free.findIndex((block) => block.offset >= offset)
    this.free.splice(at < 0 ? this.free.length : at, 0, { offset, size })
  }

  /** Gives back the end of a place whose new content is shorter. */
  shorten(offset: number, from: number, to: number): void {
    const rest = this.padded(from) - this.padded(to)
    if (rest > 0) this.release(offset + this.padded(to), rest)
  }
}

interface State {
  /** Uses that are still to come, by operations and by views. */
  children: number
  views: number
  allocated: boolean
  offset: number
}

/** Bytes that the results of a graph take. @param alignment of tensors in the buffer */
export function graphBytes(graph: Graph, alignment = 32): number {
  return new Allocation(graph, alignment).places.used
}

class Allocation {
  readonly places: Places
  private readonly states = new Map<Tensor, State>()

  constructor(graph: Graph, alignment: number) {
    this.places = new Places(alignment)
    for (const leaf of graph.leaves) this.allocate(leaf)
    for (const node of graph.nodes) {
      if (node.viewOf) this.of(node.viewOf).views++
      for (const source of node.sources) {
        this.of(source).children++
        if (source.kind === 'input') this.allocate(source)
      }
    }
    for (const node of graph.nodes) {
      for (const source of node.sources) this.allocate(source)
      this.allocate(node)
      for (const source of node.sources) this.used(source)
    }
  }

  private of(tensor: Tensor): State {
    const known = this.states.get(tensor)
    if (known) return known
    const state = { children: 0, views: 0, allocated: false, offset: 0 }
    this.states.set(tensor, state)
    return state
  }

  private allocate(tensor: Tensor): void {
    const state = this.of(tensor)
    if (tensor.kind === 'external' || state.allocated || tensor.viewOf) return
    state.allocated = true
    if (tensor.canReuse && this.reuse(tensor, state)) return
    state.offset = this.places.allocate(tensor.bytes)
  }

  /** Takes the place of the first operand that nothing else needs. Views own none, so what they look at is not reused. */
  private reuse(tensor: Tensor, state: State): boolean {
    for (const parent of tensor.sources) {
      const parentState = this.of(parent)
      if (!parentState.allocated || parent.output || !tensor.laidOutLike(parent)) continue
      if (parentState.children !== 1 || parentState.views !== 0) continue
      state.offset = parentState.offset
      parentState.allocated = false
      this.places.shorten(state.offset, parent.bytes, tensor.bytes)
      return true
    }
    return false
  }

  /** One use of a tensor less; its place is free after the last one. */
  private used(tensor: Tensor): void {
    const state = this.of(tensor)
    state.children--
    if (state.children !== 0 || state.views !== 0) return
    if (!tensor.viewOf) {
      if (state.allocated) this.free(tensor)
      return
    }
    const owner = this.of(tensor.viewOf)
    owner.views--
    if (owner.views === 0 && owner.children === 0 && owner.allocated) this.free(tensor.viewOf)
  }

  private free(tensor: Tensor): void {
    if (tensor.output) return
    const state = this.of(tensor)
    this.places.release(state.offset, tensor.bytes)
    state.allocated = false
  }
}
