/**
 * Memory of a model from its header alone, as libllama will hold it: weights by buffer, the cache layer by layer, and compute
 * buffers by placing the results of its graph as ggml's allocator does.
 */
import { graphBytes } from './allocator.js'
import { cacheBytes, type Run, runOf } from './cache.js'
import { decoderGraph } from './decoder.js'
import { type Layout, layoutOf } from './layout.js'
import { type ModelShape, shapeOf } from './shape.js'
import type { GgufHeader, MemoryEstimate, MemoryItem, MemoryOptions } from './types.js'
import { weightItems } from './weights.js'

const system = -1
/** What a graph that is not known in detail may take more than the general one. */
const unknownShare = 1.25

/**
 * @throws FileError for a header that is damaged or no language model's
 * @throws UsageError for options that llama.cpp does not take
 */
export function estimateMemory(header: GgufHeader, options: MemoryOptions): MemoryEstimate {
  const { draft, ...own } = options
  const main = estimateModel(header, own)
  const other = draft && estimateModel(draft.header, { ...own, ...draft })
  const items = [
    ...main.items,
    ...(other?.items ?? []).map((item) => ({ ...item, what: `draft: ${item.what}` })),
  ]
  const on = (device: number): number =>
    items.reduce((sum, item) => sum + (item.device === device ? item.bytes : 0), 0)
  const gpus = Math.max(0, ...items.map(({ device }) => device + 1))
  return {
    items,
    ramBytes: on(system),
    vramBytes: Array.from({ length: gpus }, (_, i) => on(i)),
    totalBytes: items.reduce((sum, { bytes }) => sum + bytes, 0),
    exact: main.exact && (other?.exact ?? true),
  }
}

function estimateModel(header: GgufHeader, options: MemoryOptions): Pick<MemoryEstimate, 'items' | 'exact'> {
  const shape = shapeOf(header)
  const run = runOf(shape, options)
  const layout = layoutOf(shape.layers.length, options)
  const onGpu = layout.output !== system
  const exact = shape.style.known && !onGpu
  return {
    items: [
      ...weightItems(header, shape, layout, options),
      ...cacheItems(shape, run, layout),
      ...computeItems(header, shape, run, layout, exact),
      { what: 'logits', use: 'output', device: system, bytes: 4 * shape.vocabulary * run.sequences },
      {
        what: 'tokenizer and work space',
        use: 'system',
        device: system,
        bytes: overhead(header, shape, run),
      },
    ],
    exact,
  }
}

function cacheItems(shape: ModelShape, run: Run, layout: Layout): MemoryItem[] {
  const totals = new Map<string, MemoryItem>()
  for (const [i, bytes] of cacheBytes(shape, run).entries()) {
    if (bytes === 0) continue
    const device = layout.layers[i]
    const layer = shape.layers[i]
    const what = !layer.cached
      ? 'recurrent states'
      : layer.sliding
        ? 'KV cache of layers with a window'
        : 'KV cache'
    const known = totals.get(`${what} ${device}`)
    totals.set(`${what} ${device}`, { what, use: 'cache', device, bytes: (known?.bytes ?? 0) + bytes })
  }
  return [...totals.values()]
}

/**
 * The whole graph runs where the layers are; with layers on both sides each device needs the buffer of its part, which is at
 * most that of the whole.
 */
function computeItems(
  header: GgufHeader,
  shape: ModelShape,
  run: Run,
  layout: Layout,
  exact: boolean,
): MemoryItem[] {
  const byName = new Map(header.tensors.map((tensor) => [tensor.name, tensor.shape]))
  const graph = decoderGraph(shape, run, {
    input: (name) => byName.get(name)?.[0] ?? 0,
    output: (name) => byName.get(name)?.at(1) ?? byName.get(name)?.[0] ?? 0,
  })
  const bytes = Math.ceil(graphBytes(graph) * (exact ? 1 : unknownShare))
  const item = (device: number, size: number): MemoryItem => ({
    what: 'compute buffer',
    use: 'compute',
    device,
    bytes: size,
  })
  const gpus = [...new Set([...layout.layers, layout.output])].filter((device) => device !== system)
  if (gpus.length === 0) return [item(system, bytes)]
  // The processor embeds the tokens and fills in the inputs, in memory that the graphics processor can read.
  const inputs = graph.leaves.reduce((sum, leaf) => sum + (leaf.kind === 'input' ? leaf.bytes : 0), 0)
  return [...gpus.map((device) => item(device, bytes)), item(system, inputs + 4 * shape.width * run.tokens)]
}

/** Bytes of a token in llama.cpp's tables: its text twice, a score, two hash tables, merges. */
const tokenBytes = 400

/** What is not in llama.cpp's own account: its tokenizer, and rows of activations converted for products with quantized weights. */
function overhead(header: GgufHeader, shape: ModelShape, run: Run): number {
  const widest = Math.max(...header.tensors.map((tensor) => (tensor.shape.length > 1 ? tensor.shape[0] : 0)))
  return tokenBytes * shape.vocabulary + 2 * widest * run.tokens
}
