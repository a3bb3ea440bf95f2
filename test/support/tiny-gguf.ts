/**
 * Tiny models with random weights, as GGUF files written here byte by byte, so that tests of the container and of
 * llama.cpp need no file and do not depend on each other.
 *
 * Layout (GGUF v3): magic, version, counts; metadata; tensor directory; data, each tensor at a multiple of 32 bytes.
 */
import { writeFile } from 'node:fs/promises'
import { Random } from '../../src/random.js'

export interface TinyOptions {
  layers?: number
  width?: number
  heads?: number
  headsKV?: number
  feedForward?: number
  seed?: number
  /** Width of a head; `width / heads` without it. */
  headWidth?: number
  /** No output matrix: the token embedding serves as one. */
  tied?: boolean
  /** Random norms instead of ones. */
  norms?: boolean
  /** Biases on all matrices of the blocks. */
  biases?: boolean
  /** Divisors of the rotary frequencies, one for each pair of a head. */
  ropeFreqs?: readonly number[]
  /** Tokens that stand for no text, for a large vocabulary. */
  unused?: number
  /** Metadata after that of the model, by key without `llama.`. */
  metadata?: TinyMetadata
}

/** Lengths, counts and the like that fit are uint32, other numbers float32. */
export type TinyMetadata = Readonly<Record<string, number | string | readonly number[] | readonly boolean[]>>

export interface TinyTensor {
  readonly name: string
  readonly shape: readonly number[]
  readonly values?: readonly number[]
}

export interface TinyModel {
  readonly architecture: string
  /** By key without the architecture. */
  readonly metadata: TinyMetadata
  readonly tensors: readonly TinyTensor[]
  readonly seed: number
  /** Random norms instead of ones. */
  readonly norms: boolean
  readonly unused?: number
  /** Factor on the random weights of a tensor. */
  readonly factor?: (name: string) => number
}

/** Tokens of every tiny model. */
export const tinyVocabulary = 271

const ALIGNMENT = 32
const UINT32 = 4
const FLOAT32 = 6
const BOOL = 7
const STRING = 8
const ARRAY = 9
const INT32 = 5
const TOKEN_NORMAL = 1
const TOKEN_CONTROL = 3

/** Merges of byte-level BPE, most frequent first; `Ġ` is a space. */
const MERGES = [
  'Ġ t',
  'h e',
  'Ġt he',
  'i n',
  'Ġ a',
  'e r',
  'o n',
  'r e',
  'Ġ s',
  'a t',
  'n d',
  'Ġa nd',
  'Ġ o',
  'Ġo f',
]
export const END_OF_TEXT = '<|endoftext|>'

/** Writes a llama model. */
export async function writeTinyGguf(path: string, options: TinyOptions = {}): Promise<void> {
  const { layers = 2, width = 64, heads = 4, headsKV = 2, feedForward = 128, seed = 1 } = options
  const { headWidth = width / heads, tied = false, norms = false, biases = false, ropeFreqs } = options
  const { unused = 0 } = options
  const vocabulary = tinyVocabulary + unused
  const widthQ = headWidth * heads
  const widthKV = headWidth * headsKV

  const metadata = {
    context_length: 1024,
    embedding_length: width,
    block_count: layers,
    feed_forward_length: feedForward,
    'attention.head_count': heads,
    'attention.head_count_kv': headsKV,
    'attention.layer_norm_rms_epsilon': 1e-5,
    'rope.dimension_count': headWidth,
    ...(options.headWidth && { 'attention.key_length': headWidth, 'attention.value_length': headWidth }),
    ...options.metadata,
  }
  const tensors: TinyTensor[] = [
    { name: 'token_embd.weight', shape: [width, vocabulary] },
    { name: 'output_norm.weight', shape: [width] },
  ]
  if (!tied) tensors.push({ name: 'output.weight', shape: [width, vocabulary] })
  if (ropeFreqs) tensors.push({ name: 'rope_freqs.weight', shape: [ropeFreqs.length], values: ropeFreqs })
  for (let layer = 0; layer < layers; layer++) {
    const add = (name: string, ...shape: number[]) => {
      tensors.push({ name: `blk.${layer}.${name}.weight`, shape })
      if (biases && shape.length === 2) tensors.push({ name: `blk.${layer}.${name}.bias`, shape: [shape[1]] })
    }
    add('attn_norm', width)
    add('attn_q', width, widthQ)
    add('attn_k', width, widthKV)
    add('attn_v', width, widthKV)
    add('attn_output', widthQ, width)
    add('ffn_norm', width)
    add('ffn_gate', width, feedForward)
    add('ffn_up', width, feedForward)
    add('ffn_down', feedForward, width)
  }
  await writeTinyModel(path, { architecture: 'llama', metadata, tensors, seed, norms, unused })
}

/** Writes a model: 256 byte tokens, 14 merged ones and `<|endoftext|>` (BOS and EOS), F32 tensors. */
export async function writeTinyModel(path: string, model: TinyModel): Promise<void> {
  const merged = MERGES.map((merge) => merge.replace(' ', ''))
  const unused = Array.from({ length: model.unused ?? 0 }, (_, i) => `<unused${i}>`)
  const tokens = [...byteCharacters(), ...merged, ...unused, END_OF_TEXT]
  const end = tokens.length - 1
  const metadata = [
    entry('general.architecture', string(model.architecture)),
    entry('general.name', string('tiny')),
    ...Object.entries(model.metadata).map(([key, value]) =>
      entry(`${model.architecture}.${key}`, typedValue(key, value)),
    ),
    entry('tokenizer.ggml.model', string('gpt2')),
    entry('tokenizer.ggml.pre', string('gpt-2')),
    entry('tokenizer.ggml.tokens', array(STRING, tokens.map(text))),
    entry(
      'tokenizer.ggml.token_type',
      array(
        INT32,
        tokens.map((_, i) => u32(i === end ? TOKEN_CONTROL : TOKEN_NORMAL)),
      ),
    ),
    entry('tokenizer.ggml.merges', array(STRING, MERGES.map(text))),
    entry('tokenizer.ggml.bos_token_id', uint32(end)),
    entry('tokenizer.ggml.eos_token_id', uint32(end)),
    entry('tokenizer.ggml.add_bos_token', typed(BOOL, Buffer.of(1))),
  ]

  const random = new Random(model.seed)
  const directory: Buffer[] = []
  const data: Buffer[] = []
  let offset = 0
  for (const { name, shape, values: given } of model.tensors) {
    const size = shape.reduce((product, n) => product * n, 1)
    const factor = model.factor?.(name) ?? 1
    const scale = (factor * 1.5) / Math.sqrt(shape[0])
    const value = (): number => {
      if (shape.length === 2) return random.normal() * scale
      if (name.endsWith('.bias')) return random.normal() / 4
      return model.norms ? factor * (1 + random.normal() / 4) : 1
    }
    const values = given ? Float32Array.from(given) : new Float32Array(size).map(value)
    directory.push(text(name), u32(shape.length), ...shape.map(u64), u32(0), u64(offset))
    data.push(padded(Buffer.from(values.buffer)))
    offset += data.at(-1)!.length
  }
  const counts = [u32(3), u64(model.tensors.length), u64(metadata.length)]
  const header = padded(Buffer.concat([Buffer.from('GGUF'), ...counts, ...metadata, ...directory]))
  await writeFile(path, Buffer.concat([header, ...data]))
}

/** The characters by which GPT-2's tokenizer writes the bytes 0 to 255: printable ones as themselves, others from U+0100 on. */
function byteCharacters(): string[] {
  const printable = (byte: number): boolean =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174
  let next = 256
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : next++))
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt(value))
  return bytes
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value)
  return Buffer.concat([u64(bytes.length), bytes])
}

function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc((ALIGNMENT - (bytes.length % ALIGNMENT)) % ALIGNMENT)])
}

const typed = (type: number, value: Buffer): Buffer => Buffer.concat([u32(type), value])
const entry = (key: string, value: Buffer): Buffer => Buffer.concat([text(key), value])
const string = (value: string): Buffer => typed(STRING, text(value))
const uint32 = (value: number): Buffer => typed(UINT32, u32(value))
const float32 = (value: number): Buffer => typed(FLOAT32, Buffer.from(Float32Array.of(value).buffer))
const isWhole =
  /(_(count|length)(_swa|_kv)?|sliding_window|sliding_window_pattern|shared_kv_layers|_per_layer_input)$/
const typedValue = (key: string, value: TinyMetadata[string]): Buffer => {
  if (typeof value === 'string') return string(value)
  if (typeof value === 'object') {
    const items = value.map((v) => (typeof v === 'boolean' ? Buffer.of(Number(v)) : u32(v)))
    return array(typeof value[0] === 'boolean' ? BOOL : UINT32, items)
  }
  return isWhole.test(key) && Number.isInteger(value) && value >= 0 && value < 2 ** 32
    ? uint32(value)
    : float32(value)
}
const array = (type: number, items: Buffer[]): Buffer =>
  typed(ARRAY, Buffer.concat([u32(type), u64(items.length), ...items]))
