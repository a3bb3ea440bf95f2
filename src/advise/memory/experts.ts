/** A mixture of experts as llama.cpp computes it. Source: llm_graph_context::build_moe_ffn of llama.cpp v0.5.0. */
import { external, type Graph, I32, like, op, type Tensor, view } from './graph.js'
import type { ModelShape, Widths } from './shape.js'

/**
 * @param of normed activations (width, tokens)
 * @param given the router's output, where it does not read `of`
 */
export function experts(
  graph: Graph,
  shape: ModelShape,
  of: Tensor,
  layer: number,
  widths: Widths,
  given?: Tensor,
): Tensor {
  const [width, tokens] = of.shape
  const { experts: count, expertsUsed: used, style } = shape
  const block = `blk.${layer}.`
  const has = (name: string): boolean => shape.names.has(block + name)
  let logits = given ?? op('mul_mat', [count, tokens], [external(), of])
  if (has('ffn_gate_inp.bias')) logits = like('add', logits, external())
  const probabilities = style.routesBySigmoid
    ? like('unary', logits)
    : style.routesByTop
      ? logits
      : like('soft_max', logits)
  const scores = has('exp_probs_b.bias') ? like('add', probabilities, external()) : probabilities
  const sorted = op('argsort', scores.shape, [scores], I32)
  const selected = view(sorted, [used, tokens], false)
  let weights = op('get_rows', [1, used, tokens], [view(probabilities, [1, count, tokens]), selected])
  if (style.routesByTop) weights = view(like('soft_max', view(weights, [used, tokens])), [1, used, tokens])
  if (style.normedWeights) {
    const flat = view(weights, [used, tokens])
    const sum = like('clamp', op('sum_rows', [1, tokens], [flat]))
    weights = view(like('div', flat, sum), [1, used, tokens])
  }
  if (style.scaledWeights) weights = like('scale', weights)
  graph.expand(weights)
  const input = view(of, [width, 1, tokens])
  const linear = (name: string, from: Tensor, rows: number): Tensor => {
    const result = op('mul_mat_id', [rows, used, tokens], [external(), from, selected])
    return has(`${name}.bias`) ? like('add_id', result, external(), selected) : result
  }
  let acted: Tensor
  if (has('ffn_gate_up_exps.weight')) {
    const both = widths.output(`${block}ffn_gate_up_exps.weight`)
    const joined = linear('ffn_gate_up_exps', input, both)
    const half = (): Tensor => view(joined, [both / 2, used, tokens], false)
    acted = op('glu', [both / 2, used, tokens], [half(), half()])
  } else {
    const rows = widths.output(`${block}ffn_up_exps.weight`)
    const up = linear('ffn_up_exps', input, rows)
    acted = has('ffn_gate_exps.weight')
      ? op('glu', [rows, used, tokens], [linear('ffn_gate_exps', input, rows), up])
      : like('unary', up)
  }
  const out = like('mul', linear('ffn_down_exps', acted, width), weights)
  graph.expand(out)
  const each = Array.from({ length: used }, () => view(out, [width, tokens], used === 1))
  for (const one of each) graph.expand(one)
  let sum = each[0]
  for (const next of each.slice(1)) {
    sum = op('add', [width, tokens], [sum, next])
    graph.expand(sum)
  }
  return used === 1 ? op('cont', [width, tokens], [sum]) : sum
}
