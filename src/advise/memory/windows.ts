/** Sliding windows and shared caches by architecture, where the file does not say it. Source: src/models of llama.cpp v0.5.0. */
import type { Metadata } from '../../gguf/index.js'
import { optionalCount, slidingLayers } from '../../models/hyperparameters.js'

interface Windows {
  /** Every so many layers one sees everything; 0: none does. */
  readonly period: number
  /** The first of a period is the one, not the last. */
  readonly first?: boolean
  /** Tokens, where the file does not say it. */
  readonly window?: number
}

/** Architectures with windows; in any other one a window in the metadata is not used by llama.cpp. */
const windows: Readonly<Record<string, Windows>> = {
  afmoe: { period: 4 },
  cohere2: { period: 4 },
  cohere2moe: { period: 4, first: true },
  'exaone-moe': { period: 4, window: 128 },
  exaone4: { period: 4 },
  gemma2: { period: 2, window: 4096 },
  gemma3: { period: 6 },
  gemma3n: { period: 5 },
  gemma4: { period: 0 },
  'gpt-oss': { period: 2 },
  laguna: { period: 4, first: true },
  llama4: { period: 4, window: 8192 },
  mellum: { period: 4 },
  olmo2: { period: 4 },
  plamo3: { period: 8 },
  smallthinker: { period: 4, first: true, window: 4096 },
}

/** The window in tokens (0: none), and which layers have it. @throws FileError for a damaged value */
export function windowOf(
  metadata: Metadata,
  architecture: string,
  layers: number,
): { readonly window: number; readonly sliding: readonly boolean[] } {
  const known = windows[architecture]
  const key = `${architecture}.attention.sliding_window`
  const window = metadata.has(key) ? optionalCount(metadata, key) : (known?.window ?? 0)
  const pattern = `${key}_pattern`
  const stated = metadata.get(pattern)?.type === 'array'
  const none = { window: 0, sliding: new Array<boolean>(layers).fill(false) }
  if (window === 0 || (!known && !stated)) return none
  if (!known?.first || stated)
    return { window, sliding: slidingLayers(metadata, pattern, layers, known?.period ?? 0) }
  const period = metadata.has(pattern) ? optionalCount(metadata, pattern) : known.period
  return { window, sliding: Array.from({ length: layers }, (_, i) => period === 0 || i % period !== 0) }
}

/** The first layer that reads the keys and values of another one instead of having its own. */
export function sharedFrom(metadata: Metadata, architecture: string, layers: number): number {
  const shared = optionalCount(metadata, `${architecture}.attention.shared_kv_layers`)
  if (shared > 0) return Math.max(0, layers - shared)
  return architecture === 'gemma3n' ? Math.min(20, layers) : layers
}
