/**
 * Memory of a file at hand by libllama's own account: the model is opened without reading weights, and a context is made without
 * allocating it. Right for every architecture, where the estimate from a header follows some and guesses others.
 */
import { FileError } from '../../errors.js'
import { openGguf } from '../../gguf/index.js'
import { checkLoads, devices, LlamaContext, LlamaModel, type NativeBuffer } from '../../llama/index.js'
import { loadNative } from '../../llama/model.js'
import { estimateMemory } from './estimate.js'
import type { MemoryEstimate, MemoryItem, MemoryOptions } from './types.js'

type DryOptions = Omit<MemoryOptions, 'draft' | 'tensorSplit' | 'cpuExpertLayers'>

/** @throws FileError for a file that llama.cpp cannot load, QuenchError for a context that it cannot make */
export async function dryMemory(path: string, options: DryOptions): Promise<MemoryEstimate> {
  const gguf = await openGguf(path)
  await gguf.close()
  const estimate = estimateMemory(gguf, options)
  await checkLoads(path, 'load')
  const { gpuLayers = 0, parallel = 1, unifiedCache = false, cacheTypes } = options
  const layers = Number.isFinite(gpuLayers) ? gpuLayers : -1
  const { result, reason } = await loadNative(path, { gpuLayers: layers, weights: false, repack: false })
  if (result === null) throw new FileError(path, `llama.cpp cannot load it: ${reason()}`)
  using model = new LlamaModel(path, result, { gpuLayers: layers })
  using context = await LlamaContext.create(model, {
    contextSize: unifiedCache ? Math.ceil(options.context / parallel) : options.context,
    sequences: parallel,
    batchSize: options.batch ?? 2048,
    microBatchSize: options.ubatch ?? 512,
    sharedCells: unifiedCache,
    fullWindows: options.fullWindows ?? false,
    flashAttention: options.flashAttention === false ? 'off' : 'auto',
    ...(cacheTypes && { kvType: `${cacheTypes.keys}/${cacheTypes.values}` }),
  })
  return withBuffers(estimate, context.buffers)
}

/** The estimate with libllama's sizes of the cache and of compute buffers. */
function withBuffers(estimate: MemoryEstimate, buffers: readonly NativeBuffer[]): MemoryEstimate {
  const gpus = devices().filter(({ kind }) => kind === 'gpu' || kind === 'integrated gpu')
  const compute = buffers
    .filter(({ use }) => use === 'compute')
    .map(({ device, bytes }): MemoryItem => {
      const index = gpus.findIndex(({ name }) => name === device)
      return { what: 'compute buffer', use: 'compute', device: index, bytes }
    })
  const sum = (all: readonly { bytes: number }[]): number =>
    all.reduce((total, { bytes }) => total + bytes, 0)
  const kept = buffers.filter(({ use }) => use === 'planned kv' || use === 'kv')
  const cached = estimate.items.filter(({ use }) => use === 'cache')
  // The log has the cache over all devices; layers share it as estimated.
  const scale = cached.length > 0 ? sum(kept) / sum(cached) : 0
  const items = [
    ...estimate.items.filter(({ use }) => use !== 'cache' && use !== 'compute'),
    ...cached.map((item) => ({ ...item, bytes: Math.round(item.bytes * scale) })),
    ...(cached.length === 0 && kept.length > 0
      ? [{ what: 'KV cache', use: 'cache', device: -1, bytes: sum(kept) } as const]
      : []),
    ...compute,
  ]
  const on = (device: number): number => sum(items.filter((item) => item.device === device))
  return {
    items,
    ramBytes: on(-1),
    vramBytes: estimate.vramBytes.map((_, i) => on(i)),
    totalBytes: sum(items),
    exact: true,
  }
}
