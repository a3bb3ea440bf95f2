/** Gemma's embeddings of every layer: (width, layers, tokens) -> (width, tokens, layers). Source: models/gemma4.cpp of llama.cpp v0.5.0. */
import { external, type Graph, I32, input, like, norm, op, type Tensor, view } from './graph.js'
import type { Widths } from './shape.js'

/** Undefined for a model without them. @param hidden embedded tokens (width, tokens) */
export function perLayerInputs(
  graph: Graph,
  hidden: Tensor,
  layers: number,
  widths: Widths,
): Tensor | undefined {
  const whole = widths.output('per_layer_model_proj.weight')
  if (whole === 0) return undefined
  const tokens = hidden.shape[1]
  const width = whole / layers
  const looked = op('get_rows', [whole, tokens], [external(), input([tokens], I32)])
  const selected = like('scale', view(looked, [width, layers, tokens]))
  graph.expand(selected)
  const projected = like('scale', op('mul_mat', [whole, tokens], [external(), hidden]))
  const sum = like('add', norm(view(projected, [width, layers, tokens])), selected)
  return op('cont', [width, tokens, layers], [view(like('scale', sum), [width, tokens, layers], false)])
}
