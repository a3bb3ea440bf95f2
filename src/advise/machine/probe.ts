/**
 * How fast this machine reads and multiplies weights: a model of zeros, larger than caches, is run by llama.cpp itself, so that
 * kernels, repacking and threads are those of real files. Takes about a second for each type and is kept in the store.
 */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { ownCacheFolder, probeModel } from '../../cache-folder.js'
import type { Store } from '../../compare/store.js'
import { QuenchError } from '../../errors.js'
import { createGguf, ggmlTypeNamed, ggmlTypes, Metadata } from '../../gguf/index.js'
import { LlamaContext, LlamaModel, PACKAGE_VERSION } from '../../llama/index.js'
import { loadNative } from '../../llama/model.js'
import type { ProgressEvent } from '../../notices.js'
import { thisMachine } from '../../speed/index.js'
import type { Machine, MachineDevice, Rate } from './machine.js'

const shape = { width: 2048, heads: 16, headsKV: 4, feedForward: 5632, vocabulary: 256 }
const modelBytes = 128e6
const f32Id = 0
const promptTokens = 64
const prompts = 2
const generatedTokens = 12
/** Of measurements; it changes when the probe does. */
const version = 2

export interface ProbeOptions {
  /** ggml's type names in upper case, the most important first; those that have no rows of the probe's width are left out. */
  readonly types: readonly string[]
  /** Types to measure at most; of the others what is stored is taken. Default: all. */
  readonly most?: number
  readonly store: Store
  readonly signal?: AbortSignal
  /** Called before each measurement. */
  readonly onProgress?: (event: ProgressEvent) => void
}

/** The machine with the rates of its devices; a described one is returned as it is. @throws QuenchError if nothing can run */
export async function probeMachine(machine: Machine, options: ProbeOptions): Promise<Machine> {
  if (machine.described) return machine
  const { store, signal, onProgress, most = Number.POSITIVE_INFINITY } = options
  const types = [...new Set(options.types)].filter((name) => {
    const type = ggmlTypeNamed(name)
    return (
      type !== undefined && shape.width % type.blockSize === 0 && shape.feedForward % type.blockSize === 0
    )
  })
  const all = [machine.cpu, ...machine.gpus]
  const probed: MachineDevice[] = []
  for (const [d, device] of all.entries()) {
    const rates = new Map(device.rates)
    for (const [t, type] of types.entries()) {
      const { cpu, cores } = thisMachine()
      const inputs = {
        ...{ version, type, device: device.name, threads: machine.threads },
        ...{ machine: { cpu, cores }, llama: PACKAGE_VERSION },
      }
      const measure = async (): Promise<Rate> => {
        signal?.throwIfAborted()
        onProgress?.({ stage: 'probe', done: d * types.length + t, total: all.length * types.length })
        return probe(type, device === machine.cpu ? 0 : -1)
      }
      const rate = t < most ? await store.once('probe', inputs, measure) : store.get<Rate>('probe', inputs)
      if (rate) rates.set(type, rate)
    }
    probed.push({ ...device, rates })
  }
  const [cpu, ...gpus] = probed
  return { ...machine, cpu, gpus }
}

async function probe(typeName: string, gpuLayers: number): Promise<Rate> {
  const path = join(ownCacheFolder(), probeModel)
  try {
    const { weights, bytes } = await writeModel(path, typeName)
    const { result, reason, buffers } = await loadNative(path, { gpuLayers })
    if (result === null) throw new QuenchError(`llama.cpp cannot run the probe: ${reason()}`)
    using model = new LlamaModel(path, result, { gpuLayers, buffers })
    using context = await LlamaContext.create(model, { contextSize: 512 })
    const prompt = new Int32Array(promptTokens).fill(1)
    const seconds = async (tokens: Int32Array): Promise<number> => {
      const began = performance.now()
      await context.decode(tokens)
      return (performance.now() - began) / 1000
    }
    // Whatever else runs on the machine only ever slows, so the fastest of several is nearest to what it can do.
    const fastest = async (tokens: Int32Array, times: number): Promise<number> => {
      let least = Number.POSITIVE_INFINITY
      for (let i = 0; i < times; i++) least = Math.min(least, await seconds(tokens))
      return least
    }
    await seconds(prompt.subarray(0, 8))
    const read = await fastest(prompt, prompts)
    const written = await fastest(prompt.subarray(0, 1), generatedTokens)
    return { bytesPerSecond: bytes / written, flops: (2 * weights * promptTokens) / read }
  } finally {
    await rm(path, { force: true })
  }
}

/** A Llama of zeros. @returns what its matrices hold, without the embedding */
async function writeModel(path: string, typeName: string): Promise<{ weights: number; bytes: number }> {
  const type = ggmlTypeNamed(typeName)!
  const { width, heads, headsKV, feedForward, vocabulary } = shape
  const widthKV = (width / heads) * headsKV
  const matrices = [
    ...[
      ['attn_q', width, width] as const,
      ['attn_k', width, widthKV] as const,
      ['attn_v', width, widthKV] as const,
    ],
    ...[['attn_output', width, width] as const, ['ffn_gate', width, feedForward] as const],
    ...[['ffn_up', width, feedForward] as const, ['ffn_down', feedForward, width] as const],
  ]
  const perLayer = matrices.reduce((sum, [, rows, columns]) => sum + rows * columns, 0)
  const bytesPerLayer = (perLayer / type.blockSize) * type.blockBytes
  const layers = Math.ceil(modelBytes / bytesPerLayer)
  const tensors = [
    { name: 'token_embd.weight', shape: [width, vocabulary], type: f32Id },
    { name: 'output_norm.weight', shape: [width], type: f32Id },
    ...Array.from({ length: layers }, (_, i) => [
      ...['attn_norm', 'ffn_norm'].map((name) => ({
        name: `blk.${i}.${name}.weight`,
        shape: [width],
        type: f32Id,
      })),
      ...matrices.map(([name, rows, columns]) => ({
        ...{ name: `blk.${i}.${name}.weight`, shape: [rows, columns] },
        type: type.type,
      })),
    ]).flat(),
  ]
  const numbers = {
    ...{
      context_length: 4096,
      embedding_length: width,
      block_count: layers,
      feed_forward_length: feedForward,
    },
    ...{ 'attention.head_count': heads, 'attention.head_count_kv': headsKV, vocab_size: vocabulary },
  }
  const metadata = new Metadata(path, [
    ['general.architecture', { type: 'string', value: 'llama' }],
    ['tokenizer.ggml.model', { type: 'string', value: 'no_vocab' }],
    ['llama.attention.layer_norm_rms_epsilon', { type: 'float32', value: 1e-5 }],
  ])
  for (const [key, value] of Object.entries(numbers)) metadata.set(`llama.${key}`, { type: 'uint32', value })
  const writer = await createGguf(path, { metadata, tensors })
  for (const tensor of tensors) {
    const { blockSize, blockBytes } = ggmlTypes.get(tensor.type)!
    const elements = tensor.shape.reduce((product, n) => product * n, 1)
    await writer.write(tensor.name, new Uint8Array((elements / blockSize) * blockBytes))
  }
  await writer.finish()
  return { weights: layers * perLayer, bytes: layers * bytesPerLayer }
}
