/**
 * Files that llama.cpp's loader refuses or that end its process: each is answered with a sentence by what loads models,
 * and this process goes on.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { FileError } from '../../src/errors.js'
import { evaluateFiles } from '../../src/evaluate/index.js'
import { type GgufValue, openGguf } from '../../src/gguf/index.js'
import { LlamaModel } from '../../src/llama/index.js'
import { checkPossible, planQuantization } from '../../src/quantize/plan.js'
import { quantizeFile } from '../../src/quantize/ptq.js'
import { train } from '../../src/train/train.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'
import { type CopiedTensor, stringValue, uint32Value, withMetadata } from '../support/with-metadata.js'

let folder: string
let sound: string
let tokens: string[]

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-unusable-'))
  sound = join(folder, 'sound.gguf')
  await writeTinyGguf(sound)
  const gguf = await openGguf(sound)
  tokens = gguf.metadata.strings('tokenizer.ggml.tokens')
  await gguf.close()
})
afterAll(() => rm(folder, { recursive: true }))

const float = (value: number): GgufValue => ({ type: 'float32', value })
const tokenList = (value: string[]): GgufValue => ({ type: 'array', itemType: 'string', value })

interface Case {
  metadata?: () => Record<string, GgufValue | undefined>
  tensors?: (all: CopiedTensor[]) => CopiedTensor[]
  /** What is said of it, by loading and by quantizing alike. */
  problem: RegExp
}

const cases: Record<string, Case> = {
  'a token twice': {
    metadata: () => ({ 'tokenizer.ggml.tokens': tokenList(tokens.with(101, tokens[100])) }),
    problem: /the tokens 100 and 101 of its vocabulary have the same text, '.+'/,
  },
  'no block': {
    metadata: () => ({ 'llama.block_count': uint32Value(0) }),
    problem: /block_count is 0, not 1 to 512/,
  },
  '65536 blocks': {
    metadata: () => ({ 'llama.block_count': uint32Value(65536) }),
    problem: /block_count is 65536, not 1 to 512, and it has tensors of 2 blocks/,
  },
  '2^31 blocks': {
    metadata: () => ({ 'llama.block_count': uint32Value(2 ** 31) }),
    problem: /block_count is 2147483648, not 1 to 512/,
  },
  'experts of which none is used': {
    metadata: () => ({ 'llama.expert_count': uint32Value(4), 'llama.expert_used_count': uint32Value(0) }),
    problem: /of 4 experts \(llama.expert_count\) it uses 0 \(llama.expert_used_count\)/,
  },
  'experts without a count': {
    metadata: () => ({ 'llama.expert_used_count': uint32Value(2) }),
    problem: /of 0 experts \(llama.expert_count\) it uses 2/,
  },
  'an epsilon that is NaN': {
    metadata: () => ({ 'llama.attention.layer_norm_rms_epsilon': float(Number.NaN) }),
    problem: /layer_norm_rms_epsilon is NaN, which is no epsilon of a norm/,
  },
  'a negative epsilon': {
    metadata: () => ({ 'llama.attention.layer_norm_rms_epsilon': float(-1) }),
    problem: /layer_norm_rms_epsilon is -1, which/,
  },
  'an unknown scaling of positions': {
    metadata: () => ({ 'llama.rope.scaling.type': stringValue('no\nsuch\x1b[2J') }),
    problem: /llama.cpp cannot load it: its check ".*rope_scaling_type.*" failed \(llama-model.cpp:\d+\)/,
  },
  'an alignment of 2': {
    metadata: () => ({ 'general.alignment': uint32Value(2) }),
    problem: /general.alignment is 2, and llama.cpp needs 32 or more/,
  },
  'an alignment that is an int32': {
    metadata: () => ({ 'general.alignment': { type: 'int32', value: 32 } }),
    problem: /general.alignment is an int32, not a uint32/,
  },
  'an alignment that is a uint64': {
    metadata: () => ({ 'general.alignment': { type: 'uint64', value: 32n } }),
    problem: /general.alignment is a uint64, not a uint32/,
  },
  'an alignment that is a uint8': {
    metadata: () => ({ 'general.alignment': { type: 'uint8', value: 32 } }),
    problem: /general.alignment is a uint8, not a uint32/,
  },
  'a file type that is a string': {
    metadata: () => ({ 'general.file_type': stringValue('F16') }),
    problem: /general.file_type is a string, not a uint32/,
  },
  'an unknown tokenizer': {
    metadata: () => ({ 'tokenizer.ggml.model': stringValue('\x1b[2Jx\nquench: all is well') }),
    problem: /llama.cpp cannot load it: .*unknown tokenizer: '\\x1b\[2Jx/,
  },
  'an unknown architecture': {
    metadata: () => ({ 'general.architecture': stringValue('no-such') }),
    problem: /unknown model architecture: 'no-such'/,
  },
  'a tensor too many': {
    tensors: (all) => [...all, { ...all[0], name: 'foo.weight' }],
    problem: /llama.cpp cannot load it: wrong number of tensors; expected 22, got 21/,
  },
  'a tensor too few': {
    tensors: (all) => all.filter(({ name }) => name !== 'blk.1.ffn_down.weight'),
    problem: /'blk.1.ffn_down.weight' not found/,
  },
  'a tensor of another shape': {
    tensors: (all) => all.map((t) => (t.name === 'blk.0.attn_q.weight' ? { ...t, shape: [32, 128] } : t)),
    problem: /'blk.0.attn_q.weight' has wrong shape; expected 64, 64, got 32, 128/,
  },
  'a token more than rows': {
    metadata: () => ({
      'tokenizer.ggml.tokens': tokenList([...tokens, 'extra']),
      'tokenizer.ggml.token_type': undefined,
    }),
    problem: /its vocabulary has 272 tokens and its embedding \(token_embd.weight\) 271 rows/,
  },
  'no tensors': { tensors: () => [], problem: /it holds no tensors, only a vocabulary/ },
  'a projector': {
    metadata: () => ({ 'general.architecture': stringValue('clip') }),
    problem: /it is a projector of images or sound \(mmproj\), not a language model/,
  },
  'an adapter': {
    metadata: () => ({ 'general.type': stringValue('adapter') }),
    tensors: (all) => all.slice(0, 2).map((t) => ({ ...t, name: `${t.name}.lora_a` })),
    problem: /it is an adapter \(LoRA\), not a model/,
  },
}

describe.each(Object.entries(cases))('%s', (name, { metadata, tensors, problem }) => {
  test('is said', async () => {
    const path = join(folder, `${name}.gguf`)
    await withMetadata(sound, path, metadata?.() ?? {}, tensors)
    const output = join(folder, 'output.gguf')
    for (const use of [() => quantizeFile(path, output, 'Q4_0'), () => LlamaModel.load(path)]) {
      const error = await use().then(
        () => undefined,
        (error: unknown) => error,
      )
      expect(error).toBeInstanceOf(FileError)
      expect(error).toMatchObject({ path, message: expect.stringMatching(problem) })
      expect((error as FileError).message).not.toMatch(/\p{Cc}/u)
    }
  })
})

/** With these the weights are sound, and only text is not to be had. */
test.each([
  ['llama', /llama.cpp cannot load it: .+/],
  ['none', /it has no vocabulary \(tokenizer.ggml.model is none\)/],
  ['no_vocab', /it has no vocabulary \(tokenizer.ggml.model is no_vocab\)/],
])('a tokenizer that does not suit the vocabulary: %s', async (model, problem) => {
  const path = join(folder, `tokenizer-${model}.gguf`)
  await withMetadata(sound, path, { 'tokenizer.ggml.model': stringValue(model) })
  for (const vocabOnly of [true, false])
    await expect(LlamaModel.load(path, { vocabOnly })).rejects.toThrow(problem)
})

describe('weights', () => {
  /** The model with one weight of `blk.1.ffn_up.weight` changed. */
  async function withWeight(name: string, value: number): Promise<string> {
    const path = join(folder, `${name}.gguf`)
    await withMetadata(sound, path, {}, (all) =>
      all.map((tensor) => {
        if (tensor.name !== 'blk.1.ffn_up.weight') return tensor
        const weights = new Float32Array(tensor.data.slice().buffer)
        weights[4242] = value
        return { ...tensor, data: new Uint8Array(weights.buffer) }
      }),
    )
    return path
  }
  const output = (): string => join(folder, 'output.gguf')
  const training = { steps: 1, tokens: 256, context: 16, batch: 16, calibration: 0, data: ['README.md'] }

  test.each([
    ['NaN', Number.NaN],
    ['Infinity', Number.POSITIVE_INFINITY],
    ['-Infinity', Number.NEGATIVE_INFINITY],
  ])('%s is named with tensor and place', async (name, value) => {
    const path = await withWeight(name, value)
    const problem = `its tensor 'blk.1.ffn_up.weight' has ${name} as weight 4242`
    for (const type of ['Q4_0', 'Q4_K_M', 'NVFP4', 'F16'])
      await expect(quantizeFile(path, output(), type)).rejects.toThrow(`${path}: ${problem}`)
    const text = [{ name: 'text', text: 'the cat and the hat '.repeat(40) }]
    await expect(evaluateFiles({ reference: sound, files: [path], text, context: 16 })).rejects.toThrow(
      `${path}: it gives predictions that are not finite numbers: ${problem}`,
    )
    await expect(train({ input: path, output: output(), type: 'Q4_0', ...training })).rejects.toThrow(
      `${path}: ${problem}`,
    )
  })

  test('a huge one is warned of, or named where the type cannot hold it', async () => {
    const path = await withWeight('huge', 1e5)
    const named = `its tensor 'blk.1.ffn_up.weight' has 100000 as weight 4242`
    const warning = `${path}: ${named}, beside which the other weights of its block are rounded to nothing`
    for (const type of ['Q4_0', 'Q8_0'])
      expect((await quantizeFile(path, output(), type)).warnings).toEqual([warning])
    expect((await quantizeFile(path, output(), 'BF16')).warnings).toEqual([])
    expect((await quantizeFile(sound, output(), 'Q4_0')).warnings).toEqual([])
    await expect(quantizeFile(path, output(), 'F16')).rejects.toThrow(
      `${path}: ${named}, which F16 cannot hold; quantize to BF16 or F32 instead`,
    )
    const warnings: string[] = []
    const onWarning = (text: string) => warnings.push(text)
    await train({ input: path, output: output(), type: 'Q4_0', ...training, onWarning })
    expect(warnings).toContain(warning)
  })

  test('a quantized file is not trained', async () => {
    const path = join(folder, 'quantized.gguf')
    await quantizeFile(sound, path, 'Q4_0')
    await expect(train({ input: path, output: output(), type: 'Q4_0', ...training })).rejects.toThrow(
      `${path}: it is quantized already (Q4_0); train from the full-precision file`,
    )
  })
})

test.each(['no tensors', 'a projector', 'a tensor too many', 'a token twice'])(
  '%s is not trained',
  async (name) => {
    const { metadata, tensors, problem } = cases[name]
    const input = join(folder, `train-${name}.gguf`)
    await withMetadata(sound, input, metadata?.() ?? {}, tensors)
    const options = { input, output: join(folder, 'output.gguf'), type: 'Q4_0', data: ['README.md'] }
    await expect(train(options)).rejects.toThrow(problem)
  },
)

test('types that need an importance matrix are known before anything is made', async () => {
  const wide = join(folder, 'wide.gguf')
  await writeTinyGguf(wide, { width: 256, feedForward: 256 })
  const check = async (path: string, type: string) => checkPossible(await planQuantization(path, type))
  for (const type of ['IQ2_XXS', 'IQ2_XS', 'IQ2_S', 'IQ1_S', 'IQ1_M', 'IQ3_XXS', 'Q2_K_S'])
    await expect(check(wide, type)).rejects.toThrow(
      `${wide}: ${type} needs an importance matrix: make one with \`quench imatrix\` and name it with --imatrix`,
    )
  await check(wide, 'IQ3_S')
  await check(sound, 'IQ2_XXS') // its rows are too short for the type and get another
})
