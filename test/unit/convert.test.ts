/** Conversion of checkpoints: values, choices, and what is refused, each in one sentence. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { convertCheckpoint, describeCheckpoint, isCheckpoint } from '../../src/convert/index.js'
import { QuenchError } from '../../src/errors.js'
import { formatNamed } from '../../src/formats/index.js'
import { type GgufValue, openGguf } from '../../src/gguf/index.js'
import {
  type CheckpointOptions,
  type FileTensor,
  writeCheckpoint,
  writeFiles,
  writeShards,
} from '../support/checkpoints.js'
import { byteLevelBpe, spacedBpe } from '../support/tokenizer-files.js'

const text = readFileSync(new URL('../../models/quench-5m.test.txt', import.meta.url), 'utf8').slice(
  0,
  20_000,
)
const tokenizer = byteLevelBpe(text, 'llama-bpe', 300)

const root = mkdtempSync(join(tmpdir(), 'quench-'))
afterAll(() => rmSync(root, { recursive: true }))
let folder: string
let output: string
beforeEach(() => {
  folder = mkdtempSync(join(root, 'checkpoint-'))
  output = join(mkdtempSync(join(root, 'out-')), 'model.gguf')
})

const write = (options: Partial<CheckpointOptions> = {}): FileTensor[] =>
  writeCheckpoint(folder, { family: 'llama', tokenizer, ...options })
const convert = (more: object = {}) => convertCheckpoint({ folder, output, ...more })

/** Weights of a tensor of the output. */
async function weights(name: string): Promise<Float32Array> {
  const gguf = await openGguf(output)
  try {
    const tensor = gguf.tensor(name)
    const format = formatNamed(tensor.type === 0 ? 'F32' : tensor.type === 1 ? 'F16' : 'BF16')
    return format!.decode(await gguf.read(tensor)).w
  } finally {
    await gguf.close()
  }
}
async function metadata(key: string): Promise<GgufValue> {
  const gguf = await openGguf(output)
  try {
    return gguf.metadata.get(key)!
  } finally {
    await gguf.close()
  }
}
const valuesOf = ({ dtype, bytes }: FileTensor): Float32Array => formatNamed(dtype)!.decode(bytes).w
const f32 = (values: ArrayLike<number>, shape: number[], name: string): FileTensor => ({
  name,
  dtype: 'F32',
  shape,
  bytes: formatNamed('F32')!.encode({ w: Float32Array.from(values) }),
})

const down = 'model.layers.1.mlp.down_proj.weight'
const query = 'model.layers.0.self_attn.q_proj.weight'

describe('values', () => {
  test('weights of one type are copied, and rounded to another', async () => {
    const tensors = write()
    const stored = tensors.find(({ name }) => name === down)!
    expect(await convert()).toMatchObject({ architecture: 'llama', type: 'BF16', tensors: 21 })
    expect(await weights('blk.1.ffn_down.weight')).toEqual(valuesOf(stored))
    await convert({ type: 'F16' })
    const half = formatNamed('F16')!
    expect(await weights('blk.1.ffn_down.weight')).toEqual(
      half.decode(half.encode({ w: valuesOf(stored) })).w,
    )
  })

  test('rows of queries are interleaved within their head', async () => {
    const stored = valuesOf(write().find(({ name }) => name === query)!)
    await convert()
    const found = await weights('blk.0.attn_q.weight')
    // 4 heads of 16 rows and 64 columns.
    for (let row = 0; row < 64; row++) {
      const [head, within] = [row - (row % 16), row % 16]
      const source = head + (within % 2) * 8 + (within >> 1)
      expect(found.subarray(row * 64, row * 64 + 64)).toEqual(stored.subarray(source * 64, source * 64 + 64))
    }
  })

  test('shards, and names with the prefixes of a multimodal checkpoint', async () => {
    write({ family: 'gemma3-images', tokenizer: spacedBpe(text, { merged: 30, prefix: false }), shards: 3 })
    expect(await convert()).toMatchObject({ architecture: 'gemma3', leftOut: 2 })
    expect(isCheckpoint(folder)).toBe(true)
    expect(await describeCheckpoint(folder)).toEqual({
      architecture: 'gemma3',
      className: 'Gemma3ForConditionalGeneration',
    })
  })

  test.each([
    [true, [2, 2, 2, 2, 2, 1]],
    [false, 2],
  ])("heads of Gemma 4's keys, which are the values too: %s", async (one, expected) => {
    const pieces = spacedBpe(text, { merged: 30, prefix: false })
    write({ family: 'gemma4', tokenizer: pieces, config: { attention_k_eq_v: one } })
    await convert()
    const { value } = await metadata('gemma4.attention.head_count_kv')
    expect(typeof value === 'object' ? [...(value as Int32Array)] : value).toEqual(expected)
  })

  test('the name of a repository counts, and not that of the folder of a snapshot', async () => {
    const snapshot = join(folder, '5f0b02c75b57c5855da9ae460ce51323ea669d8a')
    writeCheckpoint(snapshot, { family: 'llama', tokenizer })
    await convertCheckpoint({ folder: snapshot, output, name: 'org/tiny-llama-chat' })
    expect(await metadata('general.name')).toMatchObject({ value: 'Tiny Llama Chat' })
    expect(await metadata('general.finetune')).toMatchObject({ value: 'chat' })
    expect(await metadata('general.organization')).toMatchObject({ value: 'Org' })
  })

  test.each([
    ['BF16', [0.5, 2, 0.125, 1]],
    [
      'F32',
      [0.3, 2, 0.0117, 1].map(
        (value) =>
          formatNamed('BF16')!.decode(formatNamed('BF16')!.encode({ w: Float32Array.of(value) })).w[0],
      ),
    ],
  ])('FP8 with scales of blocks that need %s', async (type, scales) => {
    const tensors = write({
      config: { quantization_config: { quant_method: 'fp8', weight_block_size: [64, 64] } },
    })
    const bytes = Uint8Array.from({ length: 64 * 96 }, (_, i) => (i % 0x7f) | ((i % 3 === 0 ? 1 : 0) << 7))
    const eight = { name: down, dtype: 'F8_E4M3', shape: [64, 96], bytes }
    const scale = f32(scales.slice(0, 2), [1, 2], `${down}_scale_inv`)
    writeShards(folder, [...tensors.filter(({ name }) => name !== down), eight, scale])
    expect(await convert()).toMatchObject({ type })
    const found = await weights('blk.1.ffn_down.weight')
    const value = (byte: number): number => {
      const [exponent, fraction] = [(byte >> 3) & 15, byte & 7]
      const size = exponent === 0 ? fraction / 512 : (1 + fraction / 8) * 2 ** (exponent - 7)
      return byte & 0x80 ? -size : size
    }
    const expected = Float32Array.from(bytes, (byte, i) => value(byte) * scales[i % 96 < 64 ? 0 : 1])
    expect(found).toEqual(expected)
  })

  test.each([false, true])('an adapter is added, rslora %s', async (rslora) => {
    const tensors = write({ dtype: 'F32' })
    const [rank, alpha] = [2, 8]
    const a = Float32Array.from({ length: rank * 64 }, (_, i) => Math.sin(i))
    const b = Float32Array.from({ length: 64 * rank }, (_, i) => Math.cos(i))
    const adapter = mkdtempSync(join(root, 'adapter-'))
    const name = `base_model.model.${query.replace('.weight', '')}`
    writeShards(adapter, [
      f32(a, [rank, 64], `${name}.lora_A.weight`),
      f32(b, [64, rank], `${name}.lora_B.weight`),
    ])
    const bytes = readFileSync(join(adapter, 'model.safetensors'))
    rmSync(join(adapter, 'model.safetensors'))
    writeFiles(adapter, {
      'adapter_model.safetensors': bytes,
      'adapter_config.json': { peft_type: 'LORA', r: rank, lora_alpha: alpha, use_rslora: rslora },
    })
    expect(await convert({ adapter, type: 'F32' })).toMatchObject({ adapted: 1 })
    const found = await weights('blk.0.attn_q.weight')
    const stored = valuesOf(tensors.find((tensor) => tensor.name === query)!)
    const scale = alpha / (rslora ? Math.sqrt(rank) : rank)
    for (let row = 0; row < 64; row++) {
      const source = row - (row % 16) + (row % 2) * 8 + ((row % 16) >> 1)
      for (let column = 0; column < 64; column++) {
        const product = b[source * rank] * a[column] + b[source * rank + 1] * a[64 + column]
        expect(found[row * 64 + column]).toBe(Math.fround(stored[source * 64 + column] + scale * product))
      }
    }
  })
})

describe('refuses, and leaves nothing behind', () => {
  const config = (more: object) => () => void write({ config: more as Record<string, unknown> })
  /** What config.json says of weights that are other. */
  const told = (more: object) => () => {
    write()
    const file = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'))
    writeFiles(folder, { 'config.json': { ...file, ...more } })
  }
  const without = (name: string) => () => {
    write()
    rmSync(join(folder, name))
  }
  const withTokenizer =
    (change: (model: Record<string, unknown>, file: Record<string, unknown>) => void) => () => {
      write()
      const file = JSON.parse(readFileSync(join(folder, 'tokenizer.json'), 'utf8'))
      change(file.model, file)
      writeFiles(folder, { 'tokenizer.json': file })
    }
  test.each<[string, () => void, RegExp]>([
    [
      'an unknown class',
      config({ architectures: ['MambaForCausalLM'] }),
      /'MambaForCausalLM'; quench converts Llama/,
    ],
    ['no class', config({ architectures: null }), /'architectures' is missing/],
    ['experts', config({ num_local_experts: 8 }), /mixture of experts/],
    [
      'another quantization',
      config({ quantization_config: { quant_method: 'gptq' } }),
      /quantized by 'gptq'/,
    ],
    ['an unknown rotation', config({ rope_scaling: { rope_type: 'longrope' } }), /'longrope'/],
    ['a size that is no number', config({ hidden_size: '64' }), /'hidden_size' should be a whole number/],
    ['more layers than there are', told({ num_hidden_layers: 3 }), /lacks layer 2 of the 3/],
    [
      'fewer layers than there are',
      told({ num_hidden_layers: 1 }),
      /more layers than the 1 that config.json says: 'blk\.1\./,
    ],
    [
      'layers without end',
      told({ num_hidden_layers: 2 ** 31 - 1 }),
      /'num_hidden_layers' should be a whole number from 1 to 16384/,
    ],
    [
      'heads of endless width',
      told({ head_dim: 2 ** 31 - 2, rope_scaling: { rope_type: 'llama3' } }),
      /'head_dim' should be a whole number from 1 to 65536/,
    ],
    ['heads that do not divide the rows', told({ num_attention_heads: 3, head_dim: 16 }), /has 3 heads/],
    [
      'a rotation that the architecture lacks',
      () => void write({ family: 'qwen2', config: { rope_scaling: { rope_type: 'llama3' } } }),
      /rotates by 'llama3', which llama\.cpp cannot run/,
    ],
    ['a vocabulary of another size', config({ vocab_size: 310 }), /302 rows .* 'vocab_size' is 310/],
    ['a vocabulary that is too small', config({ vocab_size: 290 }), /id 301, and the model has rows for 290/],
    ['no config.json', without('config.json'), /no config\.json/],
    ['no weights', without('model.safetensors'), /no weights/],
    ['no tokenizer', without('tokenizer.json'), /no tokenizer\.json/],
    [
      'pickled weights',
      () => {
        without('model.safetensors')()
        writeFileSync(join(folder, 'pytorch_model.bin'), 'x')
      },
      /pickle, which can run code/,
    ],
    [
      'a shard outside the folder',
      () => {
        write()
        writeFiles(folder, {
          'model.safetensors.index.json': { weight_map: { a: '../../secret.safetensors' } },
        })
      },
      /not in this folder/,
    ],
    [
      'a tensor without a place',
      () => writeShards(folder, [...write(), f32([1], [1], 'model.layers.0.self_attn.sinks')]),
      /'model\.layers\.0\.self_attn\.sinks' has no place/,
    ],
    [
      'a tokenizer of words',
      withTokenizer((model) => Object.assign(model, { type: 'WordPiece' })),
      /'WordPiece'/,
    ],
    [
      'a merge of nothing',
      withTokenizer((model) => Object.assign(model, { merges: [['', 'a']] })),
      /would never end/,
    ],
    [
      'a merge to no token',
      withTokenizer((model) => Object.assign(model, { merges: [['a', '!!']] })),
      /'!!' is no token/,
    ],
    [
      'an id twice',
      withTokenizer((model) => Object.assign(model, { vocab: { a: 1, b: 1 } })),
      /the same id 1/,
    ],
    [
      'an id of 2^53',
      withTokenizer((model) => Object.assign(model, { vocab: { a: 2 ** 53 } })),
      /no id from 0/,
    ],
    [
      'an unknown way of splitting',
      withTokenizer((_, file) => Object.assign(file, { pre_tokenizer: { type: 'Whitespace' } })),
      /has no name for: '\{"type":"Whitespace"\}'/,
    ],
    [
      'a normalizer that llama.cpp lacks',
      withTokenizer((_, file) => Object.assign(file, { normalizer: { type: 'Lowercase' } })),
      /'Lowercase'/,
    ],
  ])('%s', async (_, make, message) => {
    make()
    const error = await convert().catch((reason) => reason)
    expect(error).toBeInstanceOf(QuenchError)
    expect(error.message).toMatch(message)
    expect(error.message).not.toContain('\n')
    expect(readdirSync(join(output, '..'))).toEqual([])
  })

  test.each(['config.json', 'model.safetensors', 'tokenizer.json'])(
    'its own %s as the output',
    async (name) => {
      write()
      const path = join(folder, name)
      const before = readFileSync(path)
      const error = await convertCheckpoint({ folder, output: path }).catch((reason) => reason)
      expect(error).toBeInstanceOf(QuenchError)
      expect(error.message).toMatch(/would overwrite .*, which this command reads/)
      expect(readFileSync(path).equals(before)).toBe(true)
    },
  )

  test('an adapter for another model', async () => {
    write()
    const adapter = mkdtempSync(join(root, 'adapter-'))
    writeFiles(adapter, { 'adapter_config.json': { peft_type: 'IA3' } })
    await expect(convert({ adapter })).rejects.toThrow("'IA3'; quench merges LoRA")
  })

  test('what was stopped', async () => {
    write()
    await expect(convert({ signal: AbortSignal.abort(new Error('stopped')) })).rejects.toThrow('stopped')
    expect(readdirSync(join(output, '..'))).toEqual([])
  })
})
