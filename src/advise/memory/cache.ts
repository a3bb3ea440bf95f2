/** Keys and values (and recurrent states) of a context. Source: llama-kv-cache.cpp, llama-kv-cache-iswa.cpp, llama-context.cpp. */
import { UsageError } from '../../errors.js'
import { ggmlTypeNamed } from '../../gguf/index.js'
import type { CacheShape, LayerShape } from './shape.js'
import type { MemoryOptions } from './types.js'

/** The options as llama.cpp resolves them. */
export interface Run {
  /** Tokens that are computed at once, a multiple of `sequences`. */
  readonly tokens: number
  /** Tokens whose logits are computed, at most. */
  readonly outputs: number
  readonly sequences: number
  /** Separate caches: one per sequence, or one. */
  readonly streams: number
  /** Cells per stream in layers that see everything, and in those with a window. */
  readonly cells: number
  readonly windowCells: number
  readonly flash: boolean
  readonly keys: CacheType
  readonly values: CacheType
}

interface CacheType {
  /** F32, which flash attention reads as F16. */
  readonly full: boolean
  readonly quantized: boolean
  readonly rowBytes: (width: number) => number
}

const pad = (n: number): number => Math.ceil(n / 256) * 256
const most = 2 ** 31 - 1

/** @throws UsageError for numbers or types that llama.cpp does not take */
export function runOf(shape: Pick<CacheShape, 'window'>, options: MemoryOptions): Run {
  const { parallel = 1, unifiedCache = false, fullWindows = false, flashAttention = true } = options
  const { keys, values } = options.cacheTypes ?? { keys: 'f16', values: 'f16' }
  checked('context', options.context, most)
  checked('parallel', parallel, 256)
  const batchWanted = checked('batch', options.batch ?? 2048, most)
  const ubatchWanted = checked('ubatch', options.ubatch ?? 512, most)
  const total = checked('context', unifiedCache ? options.context : options.context * parallel, most)
  const ubatch = Math.min(ubatchWanted, Math.min(total, batchWanted))
  const cells = unifiedCache ? pad(total) : pad(Math.floor(pad(total) / parallel))
  const seen = shape.window * (unifiedCache ? parallel : 1) + ubatch
  const valueType = cacheType('values', values)
  if (valueType.quantized && !flashAttention)
    throw new UsageError(`a cache of values of type ${values} needs flash attention`)
  return {
    tokens: Math.ceil(ubatch / parallel) * parallel,
    outputs: ubatch,
    sequences: parallel,
    streams: unifiedCache ? 1 : parallel,
    cells,
    windowCells: fullWindows ? cells : pad(Math.min(cells, seen)),
    flash: flashAttention,
    keys: cacheType('keys', keys),
    values: valueType,
  }
}

function checked(name: string, value: number, limit: number): number {
  if (Number.isInteger(value) && value >= 1 && value <= limit) return value
  throw new UsageError(`${name} is ${value}, not a whole number from 1 to ${limit}`)
}

function cacheType(of: string, name: string): CacheType {
  const type = ggmlTypeNamed(name.toUpperCase())
  if (!type) throw new UsageError(`the type ${name} of the cache's ${of} is unknown`)
  const { blockSize, blockBytes } = type
  return {
    full: name.toLowerCase() === 'f32',
    quantized: blockSize > 1,
    rowBytes: (width) => Math.ceil(width / blockSize) * blockBytes,
  }
}

export const cellsOf = (run: Run, layer: LayerShape): number => (layer.sliding ? run.windowCells : run.cells)

/** Bytes of each layer's cache and recurrent state. */
export function cacheBytes(shape: CacheShape, run: Run): number[] {
  // Without flash attention values are stored transposed, in rows that are alike in all layers.
  const widest = Math.max(...shape.layers.map(({ headsKV, valueWidth }) => headsKV * valueWidth))
  return shape.layers.map((layer) => {
    const { headsKV, keyWidth, valueWidth } = layer
    const values = shape.latent ? 0 : run.flash ? headsKV * valueWidth : widest
    const perCell = run.keys.rowBytes(headsKV * keyWidth) + run.values.rowBytes(values)
    const cached = layer.cached ? perCell * cellsOf(run, layer) * run.streams : 0
    return cached + (layer.recurrent ? 4 * shape.recurrentWidth * run.sequences : 0)
  })
}
