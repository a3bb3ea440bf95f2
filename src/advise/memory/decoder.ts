/**
 * The graph of a decoder as llama.cpp builds it for a prompt: what an architecture does is read from the tensors that a file
 * has (norms of heads, norms after a part, biases, experts). Where the order of llama.cpp's builders is the same, so is the
 * memory, to the byte. Source: llama-graph.cpp and src/models of llama.cpp v0.5.0.
 */
import { cellsOf, type Run } from './cache.js'
import { experts } from './experts.js'
import { external, F16, F32, Graph, I32, I64, input, like, norm, op, Tensor, view } from './graph.js'
import { perLayerInputs } from './per-layer.js'
import type { LayerShape, ModelShape, Widths } from './shape.js'
import type { Style } from './styles.js'

/** What is filled in for attention: where new keys go, who sees whom, rotations of a quantized cache. */
interface AttentionInput {
  readonly keyIndexes: Tensor
  readonly valueIndexes: Tensor
  readonly mask: Tensor
  readonly rotateKeys?: Tensor
  readonly rotateValues?: Tensor
}

export function decoderGraph(shape: ModelShape, run: Run, widths: Widths): Graph {
  return new Decoder(shape, run, widths).build()
}

class Decoder {
  private readonly graph = new Graph()
  private readonly tokens: number
  private readonly style: Style

  constructor(
    private readonly shape: ModelShape,
    private readonly run: Run,
    private readonly widths: Widths,
  ) {
    this.tokens = run.tokens
    this.style = shape.style
  }

  build(): Graph {
    const { graph, shape, tokens, style } = this
    const ids = input([tokens], I32)
    let hidden = op('get_rows', [shape.width, tokens], [external(), ids])
    graph.expand(hidden)
    graph.expand(input([shape.width, tokens], F32)) // embeddings of an image, which take its place
    if (style.scaledEmbedding) hidden = like('scale', hidden)
    const positions = input([tokens * style.positions], I32)
    const everything = this.attentionInput(this.run.cells, false)
    const windowed = shape.window > 0 ? this.attentionInput(this.run.windowCells, true) : everything
    const chosen = input([this.run.outputs], I32)
    const perLayer = perLayerInputs(graph, hidden, shape.layers.length, this.widths)
    for (const [i, layer] of shape.layers.entries()) {
      const last = i === shape.layers.length - 1 && !style.choosesLate
      const attention = layer.sliding ? windowed : everything
      hidden = this.block(i, layer, hidden, positions, attention, last ? chosen : undefined)
      if (perLayer) hidden = this.addPerLayer(i, hidden, perLayer)
      if (this.has(i, 'layer_output_scale')) hidden = like('mul', hidden, external())
    }
    let normed = norm(hidden)
    if (style.choosesLate) {
      normed.output = true
      normed = this.rows(normed, chosen)
    }
    normed.output = true
    let logits = op('mul_mat', [shape.vocabulary, normed.shape[1]], [external(), normed])
    if (style.cappedLogits) logits = like('scale', like('unary', like('scale', logits)))
    if (this.widths.output('output.bias') > 0) logits = like('add', logits, external())
    logits.output = true
    graph.expand(logits)
    return graph
  }

  private has(layer: number, name: string, kind = 'weight'): boolean {
    return this.shape.names.has(`blk.${layer}.${name}.${kind}`)
  }

  private linear(
    i: number,
    name: string,
    of: Tensor,
    width = this.widths.output(`blk.${i}.${name}.weight`),
  ): Tensor {
    const result = op('mul_mat', [width, of.shape[1], of.shape[2], of.shape[3]], [external(), of])
    const scaled = this.has(i, name, 'scale') ? like('mul', result, external()) : result
    return this.has(i, name, 'bias') ? like('add', scaled, external()) : scaled
  }

  private rows(of: Tensor, chosen: Tensor): Tensor {
    return op('get_rows', [of.shape[0], this.run.outputs], [of, chosen])
  }

  private attentionInput(cells: number, sliding: boolean): AttentionInput {
    const { run, shape, tokens } = this
    const layers = shape.layers.filter((layer) => layer.cached && layer.sliding === sliding)
    const widest = Math.max(0, ...shape.layers.map(({ headsKV, valueWidth }) => headsKV * valueWidth))
    return {
      keyIndexes: input([tokens], I64),
      valueIndexes: input([run.flash ? tokens : tokens * widest], I64),
      mask: input([cells, tokens / run.streams, 1, run.streams], run.flash ? F16 : F32),
      ...this.rotation(
        'rotateKeys',
        run.keys.quantized,
        layers.map(({ keyWidth }) => keyWidth),
      ),
      ...this.rotation(
        'rotateValues',
        run.values.quantized,
        layers.map(({ valueWidth }) => valueWidth),
        64,
      ),
    }
  }

  /** The Hadamard matrix that spreads outliers before they are quantized, if all heads have the same width. */
  private rotation(name: string, quantized: boolean, widths: readonly number[], most = Infinity) {
    const [width] = widths
    const first = this.shape.layers[0].keyWidth
    if (!quantized || widths.some((other) => other !== width) || !width || first % 64 !== 0) return {}
    let size = 64
    while (size < most && width % (size * 2) === 0) size *= 2
    return { [name]: input([size, size], F32) }
  }

  private rotated(of: Tensor, by?: Tensor): Tensor {
    if (!by) return of
    const width = by.shape[0]
    const flat = [width, of.shape.reduce((product, n) => product * n, 1) / width]
    const plain = of.contiguous ? view(of, flat) : op('cont', flat, [of])
    return view(op('mul_mat', flat, [by, plain]), of.shape)
  }

  private block(
    i: number,
    layer: LayerShape,
    entering: Tensor,
    positions: Tensor,
    attention: AttentionInput,
    chosen: Tensor | undefined,
  ): Tensor {
    let residual = entering
    const first = this.has(i, 'attn_norm')
    // The same name stands for a norm behind attention, and before the network where that has none of its own.
    const behind = this.has(i, 'post_attention_norm') && (this.has(i, 'ffn_norm') || !first)
    const normed = first ? norm(residual) : residual
    let out = this.attend(i, layer, normed, positions, attention)
    if (chosen) {
      out = this.rows(out, chosen)
      residual = this.rows(residual, chosen)
    }
    if (behind) out = norm(out)
    const attended = like('add', out, residual)
    let fed = this.feedForward(i, attended, behind ? 'ffn_norm' : 'post_attention_norm')
    if (this.has(i, 'post_ffw_norm')) fed = norm(fed)
    return like('add', fed, attended)
  }

  private attend(
    i: number,
    layer: LayerShape,
    normed: Tensor,
    positions: Tensor,
    inputs: AttentionInput,
  ): Tensor {
    const { graph, run, tokens, style } = this
    const { heads, headsKV, keyWidth, valueWidth } = layer
    const split = (of: Tensor, width: number, count: number) => view(of, [width, count, tokens])
    let joined: Tensor | undefined
    if (this.has(i, 'attn_qkv')) joined = this.linear(i, 'attn_qkv', normed)
    const part = (name: string, width: number, count: number): Tensor => {
      if (joined) return view(joined, [width, count, tokens], false)
      return split(this.linear(i, name, normed, width * count), width, count)
    }
    const turns = style.unturnedPeriod === 0 || (i + 1) % style.unturnedPeriod !== 0
    const factors = style.frequencies === 'all' || (style.frequencies === 'global' && !layer.sliding)
    const turned = (of: Tensor): Tensor =>
      turns ? like('rope', of, positions, ...(factors ? [external()] : [])) : of
    let q = part('attn_q', keyWidth, heads)
    if (this.has(i, 'attn_q_norm')) q = norm(q)
    q = this.rotated(style.scaledQueries ? like('scale', turned(q)) : turned(q), inputs.rotateKeys)
    graph.expand(q)
    if (layer.cached) {
      const projected = part('attn_k', keyWidth, headsKV)
      let k = this.has(i, 'attn_k_norm') ? norm(projected) : projected
      let v = joined || this.has(i, 'attn_v') ? part('attn_v', valueWidth, headsKV) : projected
      if (style.normedValues) v = norm(v, false)
      k = this.rotated(turned(k), inputs.rotateKeys)
      v = this.rotated(v, inputs.rotateValues)
      for (const each of this.shape.window > 0 ? [k, v] : [v, k]) graph.expand(each)
      this.store(k, inputs.keyIndexes, true)
      this.store(v, inputs.valueIndexes, run.flash)
    }
    const mixed = this.rotated(this.mix(q, layer, inputs, this.has(i, 'attn_sinks')), inputs.rotateValues)
    return this.linear(i, 'attn_output', mixed)
  }

  /** Writes new keys or values into the cache. */
  private store(of: Tensor, indexes: Tensor, byRow: boolean): void {
    const width = of.shape[0] * of.shape[1]
    const flat = byRow ? view(of, [width, this.tokens]) : view(of, [1, width * this.tokens])
    const cache = external()
    this.graph.expand(new Tensor('set_rows', cache.shape, F16, [flat, indexes, cache], 'node', cache))
  }

  /** Attention itself: (keyWidth, heads, tokens) -> (valueWidth * heads, tokens). */
  private mix(q: Tensor, layer: LayerShape, { mask }: AttentionInput, sinks: boolean): Tensor {
    const { run, tokens } = this
    const { heads, headsKV, keyWidth, valueWidth } = layer
    const cells = cellsOf(run, layer)
    const perStream = tokens / run.streams
    const permuted = view(
      view(q, [keyWidth, heads, perStream, run.streams]),
      [keyWidth, perStream, heads, run.streams],
      false,
    )
    const cached = (width: number, full: boolean): Tensor => {
      const part = view(external(), [width, cells, headsKV, run.streams], false)
      return full && run.flash ? op('cast', part.shape, [part], F16) : part
    }
    const k = cached(keyWidth, run.keys.full)
    const v = cached(valueWidth, run.values.full)
    const extra = sinks ? [external()] : []
    let mixed: Tensor
    if (run.flash) {
      const attended = op(
        'flash_attn',
        [valueWidth, heads, perStream, run.streams],
        [permuted, k, v, mask, ...extra],
      )
      mixed = view(attended, [valueWidth * heads, tokens])
    } else {
      let scores = op('mul_mat', [cells, perStream, heads, run.streams], [k, permuted])
      if (this.style.cappedScores) scores = like('scale', like('unary', like('scale', scores)))
      scores = like('soft_max', scores, mask, ...extra)
      const weighed = op('mul_mat', [valueWidth, perStream, heads, run.streams], [v, scores])
      const back = view(weighed, [valueWidth, heads, perStream, run.streams], false)
      mixed = op('cont', [valueWidth * heads, tokens], [back])
    }
    this.graph.expand(mixed)
    return mixed
  }

  private feedForward(i: number, entering: Tensor, other: string): Tensor {
    const normed = this.has(i, 'ffn_norm') || this.has(i, other) ? norm(entering) : entering
    const linear = (name: string, of: Tensor): Tensor => this.linear(i, name, of)
    const dense = (of: Tensor, suffix = ''): Tensor => {
      const up = linear(`ffn_up${suffix}`, of)
      if (!this.has(i, `ffn_gate${suffix}`)) {
        // A matrix of twice the width holds the gate too.
        const inner = this.widths.input(`blk.${i}.ffn_down${suffix}.weight`)
        const acted = inner < up.shape[0] ? op('glu', [inner, up.shape[1]], [up]) : like('unary', up)
        return linear(`ffn_down${suffix}`, acted)
      }
      const gate = linear(`ffn_gate${suffix}`, of)
      return linear(`ffn_down${suffix}`, op('glu', gate.shape, [gate, up]))
    }
    if (!this.has(i, 'ffn_gate_inp')) return dense(normed)
    const routed = (of: Tensor, logits?: Tensor): Tensor =>
      experts(this.graph, this.shape, of, i, this.widths, logits)
    if (this.has(i, 'pre_ffw_norm_2')) {
      // Gemma 4 with experts: a dense network beside them, each with norms of its own, and a router that reads neither.
      const beside = norm(dense(normed))
      const inner = norm(entering)
      const scaled = like('mul', like('scale', norm(entering, false)), external())
      const logits = op('mul_mat', [this.shape.experts, scaled.shape[1]], [external(), scaled])
      return like('add', beside, norm(routed(inner, logits)))
    }
    const out = routed(normed)
    if (!this.has(i, 'ffn_up_shexp')) return out
    let shared = dense(normed, '_shexp')
    if (this.has(i, 'ffn_gate_inp_shexp')) {
      const gate = like('unary', op('mul_mat', [1, normed.shape[1]], [external(), normed]))
      shared = like('mul', shared, gate)
    }
    return like('add', out, shared)
  }

  private addPerLayer(i: number, hidden: Tensor, inputs: Tensor): Tensor {
    const gate = like('unary', this.linear(i, 'inp_gate', hidden))
    const mixed = like('mul', gate, view(inputs, [inputs.shape[0], this.tokens]))
    return like('add', hidden, norm(this.linear(i, 'proj', mixed)))
  }
}
