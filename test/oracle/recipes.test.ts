/**
 * Recipes against llama_model_quantize itself: models of many shapes with tiny tensors, every recipe, the type of every
 * tensor in the file that llama.cpp writes.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { assignTypes } from '../../src/formats/assign.js'
import { type ModelFacts, recipes } from '../../src/formats/recipes.js'
import { formatOf } from '../../src/formats/table.js'
import type { TensorFacts } from '../../src/formats/tensors.js'
import { type GgufValue, Metadata } from '../../src/gguf/metadata.js'
import { openGguf } from '../../src/gguf/reader.js'
import { createGguf } from '../../src/gguf/writer.js'
import { FILE_TYPES } from '../../src/llama/native-work.js'
import { quantizeNative } from '../../src/llama/quantize-native.js'
import { needsMatrix } from '../../src/quantize/needs-importance.js'
import { nativeOptions, type QuantizeSettings, typeChoices } from '../../src/quantize/options.js'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-recipes-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const sourceBytes: Record<number, number> = { 0: 4, 1: 2, 30: 2 }

async function writeModel(path: string, model: ModelFacts, tensors: readonly TensorFacts[]): Promise<void> {
  const uint32 = (value: number): GgufValue => ({ type: 'uint32', value })
  const arch = model.architecture
  const entries: [string, GgufValue][] = [
    ['general.architecture', { type: 'string', value: arch }],
    [`${arch}.context_length`, uint32(64)],
    [`${arch}.embedding_length`, uint32(256)],
    [`${arch}.feed_forward_length`, uint32(256)],
    [`${arch}.block_count`, uint32(model.layers)],
    [`${arch}.attention.head_count`, uint32(model.heads)],
    [`${arch}.attention.head_count_kv`, uint32(model.headsKv)],
    [`${arch}.attention.layer_norm_rms_epsilon`, { type: 'float32', value: 1e-5 }],
    [`${arch}.attention.layer_norm_epsilon`, { type: 'float32', value: 1e-5 }],
  ]
  if (model.experts > 0) {
    entries.push([`${arch}.expert_count`, uint32(model.experts)], [`${arch}.expert_used_count`, uint32(2)])
  }
  const writer = await createGguf(path, { metadata: new Metadata(path, entries), tensors })
  for (const { name, shape, type } of tensors) {
    const count = shape.reduce((product, length) => product * length, 1)
    await writer.write(name, new Uint8Array(count * sourceBytes[type]))
  }
  await writer.finish()
}

interface Shape {
  readonly row?: number
  readonly source?: number
  readonly tied?: boolean
  readonly fusedQkv?: boolean
  readonly extra?: readonly (readonly [name: string, shape: readonly number[]])[]
}

/** A model of this shape with one or two rows in every tensor, in the order converters write them. */
function tensorsOf({ layers, experts }: ModelFacts, shape: Shape): TensorFacts[] {
  const { row = 256, source = 1, tied = false, fusedQkv = false, extra = [] } = shape
  const tensors: TensorFacts[] = []
  const matrix = (name: string, ...rest: number[]) => {
    tensors.push({ name, shape: [row, ...(rest.length ? rest : [2])], type: source })
  }
  const vector = (name: string) => tensors.push({ name, shape: [row], type: 0 })
  matrix('token_embd.weight')
  for (let layer = 0; layer < layers; layer++) {
    const block = `blk.${layer}.`
    vector(`${block}attn_norm.weight`)
    for (const part of fusedQkv ? ['qkv'] : ['q', 'k', 'v']) matrix(`${block}attn_${part}.weight`)
    vector(`${block}attn_q.bias`)
    matrix(`${block}attn_output.weight`)
    vector(`${block}ffn_norm.weight`)
    if (experts > 0) {
      matrix(`${block}ffn_gate_inp.weight`)
      for (const part of ['down', 'gate', 'up']) matrix(`${block}ffn_${part}_exps.weight`, 2, experts)
      for (const part of ['down', 'gate', 'up']) matrix(`${block}ffn_${part}_shexp.weight`)
    } else {
      for (const part of ['down', 'gate', 'up']) matrix(`${block}ffn_${part}.weight`)
    }
  }
  vector('output_norm.weight')
  if (!tied) matrix('output.weight')
  for (const [name, dimensions] of extra) tensors.push({ name, shape: dimensions, type: source })
  return tensors
}

/** Importances of one for every column. */
const equal = (tensors: readonly TensorFacts[]): Map<string, Float32Array> =>
  new Map(
    tensors
      .filter(({ shape }) => shape.length > 1)
      .map(({ name, shape }) => [name, new Float32Array(shape[0] * (shape[2] ?? 1)).fill(1)]),
  )

const llama = (layers: number, heads = 8, headsKv = 8, experts = 0): ModelFacts => ({
  architecture: 'llama',
  layers,
  heads,
  headsKv,
  experts,
})

/** Names that are treated apart somewhere, each a matrix of two rows or as given. */
const unusual = [
  ['per_layer_token_embd.weight', [256, 2]],
  ['position_embd.weight', [256, 2]],
  ['token_types.weight', [256, 2]],
  ['rope_freqs.weight', [256]],
  ['blk.0.attn_kv_b.weight', [256, 2]],
  ['blk.0.attn_q_norm.weight', [256, 2]],
  ['blk.1.ssm_conv1d.weight', [256, 2]],
  ['blk.1.altup_router.weight', [256, 2]],
  ['blk.1.laurel_l.weight', [256, 2]],
  ['blk.1.time_mix_w1.weight', [256, 2]],
  ['blk.1.time_mix_decay_w2.weight', [256, 2]],
  ['blk.1.time_mix_key.weight', [256, 2]],
  ['blk.1.attn_rel_b.weight', [256, 2]],
  ['blk.1.indexer.k_proj.weight', [256, 2]],
  ['blk.1.shortconv.in_proj.weight', [256, 2]],
  ['blk.1.ffn_up.scale', [256, 2]],
  ['blk.1.attn_k_b.weight', [256, 1, 2]],
  ['blk.1.cross_attn_v.weight', [256, 1, 1]],
  ['v.blk.0.attn_v.weight', [64, 3]],
  ['mm.weight', [1, 256]],
  ['odd_rows.weight', [48, 4]],
] as const

const cases: Record<string, [ModelFacts, Shape]> = {
  '1 layer': [llama(1), {}],
  '2 layers, tied': [llama(2), { tied: true }],
  '4 layers of F32': [llama(4), { source: 0 }],
  '5 layers of BF16, tied': [llama(5), { source: 30, tied: true }],
  '6 layers': [llama(6), {}],
  '8 layers, 2 queries a key': [llama(8, 8, 4), {}],
  '13 layers, 4 queries a key': [llama(13, 8, 2), { tied: true }],
  '32 layers, 8 queries a key': [llama(32, 32, 4), {}],
  'rows of 64': [llama(4), { row: 64 }],
  'rows of 64, tied': [llama(9), { row: 64, tied: true }],
  'rows of 48': [llama(2), { row: 48 }],
  'rows of 288, falcon': [
    { ...llama(4), architecture: 'falcon' },
    { row: 288, fusedQkv: true },
  ],
  'falcon, 32 layers': [{ ...llama(32, 8, 1), architecture: 'falcon' }, { fusedQkv: true }],
  'falcon with experts': [{ ...llama(16, 8, 1, 8), architecture: 'falcon' }, { tied: true }],
  'llama with attn_qkv': [llama(24), { fusedQkv: true }],
  '8 experts': [llama(32, 32, 8, 8), {}],
  '8 experts, rows of 64': [llama(4, 8, 2, 8), { row: 64, tied: true }],
  '4 experts': [llama(12, 8, 8, 4), {}],
  'Llama 70B': [llama(80, 64, 8), {}],
  'Llama 65B': [llama(80, 64, 64), {}],
  'Qwen2 72B': [{ ...llama(80, 64, 64), architecture: 'qwen2' }, {}],
  'OLMo 80 layers': [{ ...llama(80, 64, 64), architecture: 'olmo' }, {}],
  'Jais 2 70B': [{ ...llama(68, 64, 64), architecture: 'jais2' }, {}],
  'Gemma 3, tied': [{ ...llama(18, 4, 1), architecture: 'gemma3' }, { tied: true }],
  'unusual tensors': [llama(3), { extra: unusual }],
  'unusual tensors, tied': [llama(3), { extra: unusual, tied: true }],
}

describe.each(Object.keys(cases))('%s', (name) => {
  const [model, shape] = cases[name]
  const tensors = tensorsOf(model, shape)

  it('has the types llama.cpp gives it, in every recipe', async () => {
    const input = join(folder, `${name.replaceAll(/\W/g, '_')}.gguf`)
    const output = `${input}.out`
    await writeModel(input, model, tensors)
    for (const [recipe, { fileType }] of Object.entries(recipes)) {
      if (!Object.hasOwn(FILE_TYPES, recipe)) continue // quench's own
      const importance = needsMatrix(recipe) ? equal(tensors) : undefined
      const choices = { importance: importance !== undefined }
      // Without the check that the file loads: these have no vocabulary.
      const reason = await quantizeNative(input, output, {
        type: recipe,
        threads: 1,
        ...(importance && { importance }),
      })
      if (reason !== undefined) {
        expect(reason, recipe).toContain('no tensor type fallback is defined')
        expect(() => assignTypes(recipe, model, tensors, choices)).toThrow('has no type in its place')
        continue
      }
      const quantized = await openGguf(output)
      const expected = Object.fromEntries(quantized.tensors.map((tensor) => [tensor.name, tensor.type]))
      expect(quantized.metadata.number('general.file_type'), recipe).toBe(fileType)
      await quantized.close()
      const assigned = assignTypes(recipe, model, tensors, choices)
      expect(Object.fromEntries(assigned), recipe).toEqual(expected)
      expect(assignTypes(recipe, model, tensors.toReversed(), choices), recipe).toEqual(assigned)
    }
  })
})

it.each([
  ['Q4_0', 'Q4_1', 2],
  ['Q5_0', 'Q5_1', 2],
  ['IQ4_NL', 'Q5_K', 0],
  ['IQ4_XS', 'Q5_K', 0],
])('with an importance matrix, treats ffn_down of %s as llama.cpp does', async (recipe, type, count) => {
  const model = llama(16)
  const tensors = tensorsOf(model, {})
  const input = join(folder, 'importance.gguf')
  await writeModel(input, model, tensors)
  const importance = new Map([['blk.0.ffn_down.weight', new Float32Array(256).fill(1)]])
  expect(
    await quantizeNative(input, `${input}.out`, { type: recipe, threads: 1, importance }),
  ).toBeUndefined()
  const quantized = await openGguf(`${input}.out`)
  const expected = new Map(quantized.tensors.map((tensor) => [tensor.name, tensor.type]))
  await quantized.close()
  expect(assignTypes(recipe, model, tensors, { importance: true })).toEqual(expected)
  expect([...expected.values()].filter((found) => formatOf(found)?.name === type).length).toBe(count)
})

/** Of embeddings in types that fit rows of 64: libllama takes these whether they fit or not, and crashes where they do not. */
const combinations: Record<string, QuantizeSettings> = {
  pure: { pure: true },
  'pure, with output and embedding types': {
    pure: true,
    outputTensorType: 'Q8_0',
    tokenEmbeddingType: 'Q5_0',
  },
  'output type, output left': { outputTensorType: 'Q5_K', leaveOutputTensor: true },
  'embedding type': { tokenEmbeddingType: 'Q4_0' },
  'rules, the first decides': {
    tensorTypes: [
      { pattern: 'blk\\.(0|1)\\.attn_v', type: 'IQ3_S' },
      { pattern: 'attn_(v|output)|token_embd', type: 'Q5_K' },
      { pattern: 'blk\\.[2-5]\\.ffn_down', type: 'TQ1_0' },
    ],
    outputTensorType: 'Q4_K',
  },
  'a rule and an embedding type': {
    tensorTypes: [{ pattern: '.*', type: 'Q2_K' }],
    tokenEmbeddingType: 'Q5_1',
  },
}

describe.each(Object.keys(combinations))('options: %s', (combination) => {
  const settings = combinations[combination]
  const perLayer = { extra: [['per_layer_token_embd.weight', [256, 2]]] } as const
  it.each([
    ['Q4_K_M', llama(16), {}],
    ['Q4_K_M', llama(7), { tied: true, ...perLayer }],
    ['Q3_K_L', llama(4, 8, 2, 8), {}],
    ['Q3_K_M', llama(8), { row: 64, tied: true }],
    ['TQ2_0', llama(6), perLayer],
    ['BF16', llama(3), { source: 0, ...perLayer }],
  ] as const)('%s', async (recipe, model, shape) => {
    const tensors = tensorsOf(model, shape)
    const input = join(folder, 'options.gguf')
    await writeModel(input, model, tensors)
    const reason = await quantizeNative(input, `${input}.out`, {
      ...nativeOptions(recipe, settings),
      threads: 1,
    })
    expect(reason).toBeUndefined()
    const quantized = await openGguf(`${input}.out`)
    const expected = new Map(quantized.tensors.map((tensor) => [tensor.name, tensor.type]))
    await quantized.close()
    expect(assignTypes(recipe, model, tensors, typeChoices(settings))).toEqual(expected)
  })
})
