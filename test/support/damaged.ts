/** Damaged copies of a model, each made of a number: bits, counts, types, values, tensors, tokens, and files cut short. */
import { readFile, writeFile } from 'node:fs/promises'
import { type GgufValue, Metadata, openGguf } from '../../src/gguf/index.js'
import { Random } from '../../src/random.js'
import { type CopiedTensor, withMetadata } from './with-metadata.js'

const numbers = [0, 1, 2, 3, 7, 255, 511, 513, 4096, 65_536, 2 ** 24, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1]
const floats = [0, -1, 1e-30, 1e30, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
const texts = [
  '',
  '\0',
  'none',
  'no_vocab',
  'llama',
  'gpt2',
  'bert',
  't5',
  'rwkv',
  'clip',
  'mamba',
  'gemma3',
  'yarn',
  '%s%n',
  '\x1b[2Jx\nquench: all is well',
]
const extraKeys = [
  'expert_count',
  'expert_used_count',
  'attention.sliding_window',
  'rope.scaling.type',
  'rope.scaling.factor',
  'attention.key_length',
  'attention.value_length',
  'vocab_size',
  'logit_scale',
  'nextn_predict_layers',
  'pooling_type',
  'attention.causal',
]

/** Writes copy number `seed`. @returns what was done to it */
export async function writeDamaged(model: string, to: string, seed: number): Promise<string> {
  const random = new Random(seed)
  const choose = <T>(from: readonly T[]): T => from[random.int(from.length)]
  const kind = choose(['bytes', 'cut', 'value', 'value', 'value', 'key', 'tensors', 'tokens'] as const)
  if (kind === 'bytes' || kind === 'cut') return damageBytes(model, to, kind, random)
  const gguf = await openGguf(model)
  const metadata = new Metadata(model, gguf.metadata)
  await gguf.close()
  const changes: Record<string, GgufValue | undefined> = {}
  let tensors: ((all: CopiedTensor[]) => CopiedTensor[]) | undefined
  let what: string = kind
  if (kind === 'tensors') {
    tensors = (all) => {
      const [a, b] = [random.int(all.length), random.int(all.length)]
      const change = choose(['missing', 'twice as much', 'swapped', 'renamed', 'other shape'] as const)
      what = `tensors: ${all[a].name} ${change}`
      const copy = all.map((tensor) => ({ ...tensor }))
      if (change === 'missing') copy.splice(a, 1)
      if (change === 'twice as much') copy.push({ ...copy[a], name: 'blk.9.extra.weight' })
      if (change === 'swapped') [copy[a].name, copy[b].name] = [copy[b].name, copy[a].name]
      if (change === 'renamed')
        copy[a].name = choose(['x', 'token_embd.weight.x', `blk.${choose(numbers)}.ffn_upper.weight`])
      if (change === 'other shape') copy[a].shape = [...copy[a].shape].reverse()
      return copy
    }
  } else if (kind === 'tokens') {
    const tokens = [...metadata.strings('tokenizer.ggml.tokens')]
    const at = random.int(tokens.length)
    const change = choose(['twice', 'empty', 'one more', 'one less', 'no merges', 'other text'] as const)
    if (change === 'twice') tokens[at] = tokens[random.int(tokens.length)]
    if (change === 'empty') tokens[at] = ''
    if (change === 'one more') tokens.push('one more')
    if (change === 'one less') tokens.pop()
    if (change === 'other text') tokens[at] = choose(texts)
    if (change === 'no merges') changes['tokenizer.ggml.merges'] = undefined
    changes['tokenizer.ggml.tokens'] = { type: 'array', itemType: 'string', value: tokens }
    what = `tokens: ${change} at ${at}`
  } else {
    const architecture = metadata.string('general.architecture')
    const key =
      kind === 'key' ? `${architecture}.${choose(extraKeys)}` : choose([...metadata].map(([key]) => key))
    changes[key] = random.int(8) === 0 ? undefined : strangeValue(metadata.get(key), choose)
    what = `${key}: ${JSON.stringify(changes[key], (_, v) => (typeof v === 'bigint' ? String(v) : v))?.slice(0, 80)}`
  }
  await withMetadata(model, to, changes, tensors)
  return what
}

function strangeValue(now: GgufValue | undefined, choose: <T>(from: readonly T[]) => T): GgufValue {
  const type: GgufValue['type'] = choose([
    ...(now ? [now.type, now.type, now.type] : []),
    ...(['uint32', 'uint32', 'int32', 'float32', 'string', 'bool', 'uint64', 'uint8', 'array'] as const),
  ])
  if (type === 'string') return { type, value: choose(texts) }
  if (type === 'bool') return { type, value: choose([true, false]) }
  if (type === 'float32' || type === 'float64') return { type, value: choose(floats) }
  if (type === 'array')
    return { type, itemType: 'uint32', value: Uint32Array.from(choose([[], [0], [1, 2, 3]])) }
  if (type === 'uint64' || type === 'int64') return { type, value: BigInt(choose(numbers)) }
  const bits = { uint8: 8, int8: 7, uint16: 16, int16: 15, uint32: 32, int32: 31 }[type]
  return { type, value: choose(numbers) % 2 ** bits }
}

async function damageBytes(
  model: string,
  to: string,
  kind: 'bytes' | 'cut',
  random: Random,
): Promise<string> {
  const gguf = await openGguf(model)
  const { dataOffset } = gguf
  await gguf.close()
  const bytes = await readFile(model)
  const at = random.int(kind === 'cut' ? bytes.length : dataOffset - 8)
  if (kind === 'cut') {
    await writeFile(to, bytes.subarray(0, at))
    return `cut at ${at}`
  }
  // The names of keys and the directory of tensors are short beside the vocabulary.
  const place =
    random.int(2) === 0 ? at : random.int(2) === 0 ? random.int(900) : dataOffset - 1 - random.int(3000)
  if (random.int(2) === 0) bytes[place] ^= 1 << random.int(8)
  else bytes.writeUInt32LE(numbers[random.int(numbers.length)], Math.min(place, dataOffset - 4))
  await writeFile(to, bytes)
  return `byte ${place}`
}
