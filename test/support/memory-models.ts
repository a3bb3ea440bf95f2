/**
 * Small models of many shapes and types, and the contexts in which their memory is measured. Weights are zeros: memory does not
 * depend on them.
 */
import { join } from 'node:path'
import { estimateMemory } from '../../src/advise/memory/estimate.js'
import type { GgufHeader, MemoryItem, MemoryOptions } from '../../src/advise/memory/types.js'
import { createGguf, ggmlTypeNamed, ggmlTypes, openGguf } from '../../src/gguf/index.js'
import { instructionSets, LlamaContext, LlamaModel, type NativeBuffer } from '../../src/llama/index.js'
import { loadNative } from '../../src/llama/model.js'
import { type TinyMetadata, type TinyTensor, tinyVocabulary, writeTinyModel } from './tiny-gguf.js'
import { type TinyVariant, writeTinyVariant } from './tiny-models.js'

interface MemoryModel {
  readonly name: string
  readonly write: (path: string) => Promise<void>
}

const size = { width: 256, heads: 8, headsKV: 2, feedForward: 768 }
const tiny = (name: string, variant: TinyVariant): MemoryModel => ({
  name,
  write: (path) => writeTinyVariant(path, { ...size, ...variant }),
})

/** A model with experts, and Gemma 2's shape, which `writeTinyVariant` has not. */
const other = (
  name: string,
  options: {
    architecture: string
    metadata?: TinyMetadata
    unused?: number
    block: readonly (readonly [string, ...number[]])[]
  },
): MemoryModel => ({
  name,
  write: (path) => {
    const { architecture, metadata = {}, unused = 0, block } = options
    const { width, heads, headsKV, feedForward } = size
    const layers = 3
    const of = (names: readonly (readonly [string, ...number[]])[], prefix = ''): TinyTensor[] =>
      names.map(([each, ...shape]) => ({ name: `${prefix}${each}.weight`, shape }))
    const attention = [
      ['attn_norm', width],
      ['attn_q', width, width],
      ['attn_k', width, (width / heads) * headsKV],
      ['attn_v', width, (width / heads) * headsKV],
      ['attn_output', width, width],
      ['ffn_norm', width],
    ] as const
    return writeTinyModel(path, {
      architecture,
      seed: 1,
      norms: false,
      unused,
      metadata: {
        context_length: 8192,
        embedding_length: width,
        block_count: layers,
        feed_forward_length: feedForward,
        'attention.head_count': heads,
        'attention.head_count_kv': headsKV,
        'attention.layer_norm_rms_epsilon': 1e-5,
        ...metadata,
      },
      tensors: [
        ...of([['token_embd', width, tinyVocabulary + unused]]),
        ...of([['output_norm', width]]),
        ...Array.from({ length: layers }, (_, i) => of([...attention, ...block], `blk.${i}.`)).flat(),
      ],
    })
  },
})

const expert = 128
const routed = (count: number, inner = expert) =>
  [
    ['ffn_gate_inp', size.width, count],
    ['ffn_gate_exps', size.width, inner, count],
    ['ffn_up_exps', size.width, inner, count],
    ['ffn_down_exps', inner, size.width, count],
  ] as const

export const memoryModels: readonly MemoryModel[] = [
  tiny('llama', { architecture: 'llama', layers: 4 }),
  tiny('llama, one matrix and biases', { architecture: 'llama', joined: true, biases: ['blk.0.attn_qkv'] }),
  tiny('qwen2, tied', { architecture: 'qwen2', tied: true, biases: ['blk.0.attn_q', 'blk.1.attn_v'] }),
  tiny('qwen3, wide heads', { architecture: 'qwen3', layers: 3, headWidth: 64 }),
  tiny('smollm3', { architecture: 'smollm3', layers: 4, tied: true }),
  tiny('gemma3, a window', {
    ...{ architecture: 'gemma3', layers: 7, tied: true, headWidth: 64 },
    metadata: { 'attention.sliding_window': 512 },
  }),
  tiny('gemma3, no window', { architecture: 'gemma3', tied: true, headWidth: 64 }),
  tiny('gemma4, shared caches', {
    ...{ architecture: 'gemma4', layers: 6, tied: true, headWidth: 128 },
    gemma4: {
      slides: [true, true, false, true, true, false],
      ...{ headWidthSliding: 64, perLayer: 64, shared: 3, scales: { 1: 0.5 } },
      feedForward: [768, 768, 768, 1536, 1536, 1536],
    },
  }),
  tiny('gemma4, keys as values', {
    ...{ architecture: 'gemma4', layers: 4, tied: true, headWidth: 128 },
    gemma4: {
      slides: [true, false, true, false],
      ...{ headWidthSliding: 64, headsKV: [2, 1, 2, 1], keysAsValues: [1, 3] },
    },
  }),
  other('llama, 4 experts of 8', {
    architecture: 'llama',
    metadata: {
      ...{ expert_count: 8, expert_used_count: 4, 'rope.dimension_count': 32 },
    },
    block: routed(8, size.feedForward),
  }),
  other('qwen3moe', {
    architecture: 'qwen3moe',
    metadata: { expert_count: 16, expert_used_count: 2, expert_feed_forward_length: expert },
    block: [['attn_q_norm', 32], ['attn_k_norm', 32], ...routed(16)],
  }),
  other('granite', {
    architecture: 'granite',
    metadata: {
      ...{ embedding_scale: 12, logit_scale: 8, residual_scale: 0.25, 'attention.scale': 0.1 },
      'rope.dimension_count': 32,
    },
    block: [
      ['ffn_gate', size.width, size.feedForward],
      ['ffn_up', size.width, size.feedForward],
      ['ffn_down', size.feedForward, size.width],
    ],
  }),
  other('glm4, a gate in one matrix', {
    architecture: 'glm4',
    metadata: { 'rope.dimension_count': 16 },
    block: [
      ['post_attention_norm', size.width],
      ['post_ffw_norm', size.width],
      ['ffn_up', size.width, 2 * size.feedForward],
      ['ffn_down', size.feedForward, size.width],
    ],
  }),
  other('gemma2', {
    architecture: 'gemma2',
    unused: 20_000,
    metadata: {
      ...{ 'attention.sliding_window': 256, attn_logit_softcapping: 50, final_logit_softcapping: 30 },
    },
    block: [
      ['post_attention_norm', size.width],
      ['post_ffw_norm', size.width],
      ['ffn_gate', size.width, size.feedForward],
      ['ffn_up', size.width, size.feedForward],
      ['ffn_down', size.feedForward, size.width],
    ],
  }),
]

/** Types of the matrices; which of them are repacked depends on the processor. */
export const memoryTypes = ['F16', 'Q8_0', 'Q4_0', 'Q4_K'] as const

/** A file with the tensors of another, its matrices of zeros in `type`. */
export async function writeZeros(from: string, folder: string, type: string): Promise<string> {
  const source = await openGguf(from)
  const path = join(folder, `${type}.gguf`)
  const wanted = ggmlTypeNamed(type)!
  const tensors = source.tensors.map(({ name, shape, type: stored }) => {
    const matrix = shape.length > 1 && shape[0] % wanted.blockSize === 0 && !name.includes('gate_inp')
    return { name, shape, type: matrix ? wanted.type : stored }
  })
  const writer = await createGguf(path, { metadata: source.metadata, tensors })
  for (const { name, shape, type: stored } of tensors) {
    const { blockSize, blockBytes } = ggmlTypes.get(stored)!
    const weights = shape.reduce((product, n) => product * n, 1)
    await writer.write(name, new Uint8Array((weights / blockSize) * blockBytes))
  }
  await writer.finish()
  await source.close()
  return path
}

type Context = Omit<MemoryOptions, 'gpuLayers' | 'tensorSplit' | 'cpuExpertLayers' | 'instructions' | 'draft'>
const types = (keys: string, values = keys) => ({ cacheTypes: { keys, values } })

/** Contexts, so that every option has each of its values with each of the types. */
export const memoryContexts: readonly Context[] = [
  { context: 512 },
  { context: 3000, parallel: 3, ubatch: 128 },
  { context: 8192, ...types('q8_0') },
  { context: 2048, parallel: 2, flashAttention: false, ubatch: 256 },
  { context: 4096, parallel: 4, unifiedCache: true, ...types('q4_0', 'f16') },
  { context: 1500, parallel: 2, fullWindows: true, batch: 64, ...types('f32', 'q5_1') },
]

/** Bytes by use, as libllama says it in its log (to 0.01 MiB a buffer) and as estimated. */
export interface MemoryComparison {
  readonly context: Context
  readonly estimate: Readonly<Record<Use, number>>
  readonly measured: Readonly<Record<Use, number>>
  /** Buffers that were measured; each is rounded. */
  readonly buffers: number
}

const uses = ['weights', 'cache', 'compute', 'output'] as const
type Use = (typeof uses)[number]

export const sumOf = (by: Readonly<Record<Use, number>>): number =>
  uses.reduce((sum, use) => sum + by[use], 0)

/** Loads a file and makes every context. */
export async function compareMemory(
  header: GgufHeader,
  contexts: readonly Context[] = memoryContexts,
): Promise<MemoryComparison[]> {
  const instructions = instructionSets()
  // Without the trial in another process: these files are our own.
  const { result, reason, buffers: weights } = await loadNative(header.path, {})
  if (result === null) throw new Error(`${header.path}: ${reason()}`)
  using model = new LlamaModel(header.path, result, { buffers: weights })
  const found: MemoryComparison[] = []
  for (const context of contexts) {
    const { parallel = 1, cacheTypes = { keys: 'f16', values: 'f16' } } = context
    using made = await LlamaContext.create(model, {
      contextSize: context.unifiedCache ? context.context / parallel : context.context,
      sequences: parallel,
      batchSize: context.batch ?? 2048,
      microBatchSize: context.ubatch ?? 512,
      kvType: `${cacheTypes.keys}/${cacheTypes.values}`,
      flashAttention: context.flashAttention === false ? 'off' : 'auto',
      sharedCells: context.unifiedCache ?? false,
      fullWindows: context.fullWindows ?? false,
    })
    const { items } = estimateMemory(header, { ...context, instructions })
    const buffers = [...model.buffers, ...made.buffers]
    const by = <T extends MemoryItem | NativeBuffer>(all: readonly T[], name: (use: Use) => string) =>
      Object.fromEntries(
        uses.map((use) => [
          use,
          all.reduce((sum, { use: of, bytes }) => sum + (of === name(use) ? bytes : 0), 0),
        ]),
      ) as Record<Use, number>
    found.push({
      context,
      estimate: by(items, (use) => use),
      measured: by(buffers, (use) => (use === 'cache' ? 'kv' : use)),
      buffers: buffers.length,
    })
  }
  return found
}
