/** What memory and speed depend on: of a family of the catalogue, or of a file by its header. */
import type { Gguf } from '../gguf/index.js'
import type { Family } from './catalogue/types.js'

/** Blocks with the same kind of cache. */
interface CachedBlocks {
  readonly blocks: number
  /** Elements of a token's key and of its value. */
  readonly keyWidth: number
  readonly valueWidth: number
  /** Tokens that the blocks see; absent for all. */
  readonly window?: number
}

export interface Shape {
  readonly blocks: number
  readonly embedding: number
  readonly vocabulary: number
  readonly cached: readonly CachedBlocks[]
  /** Share of the weights in experts, of which few are used at a time; 0 without experts. */
  readonly expertShare: number
  /** Share of all weights that one token reads. */
  readonly activeShare: number
}

/** The shape of a family. Where global blocks differ from local ones, both are counted. */
export function shapeOfFamily(family: Family): Shape {
  const { blocks, embedding, vocabulary, heads, slidingWindow, slidingPattern, sharedKvLayers = 0 } = family
  const kvHeads = family.kvHeads ?? heads
  const size = family.headSize ?? embedding / heads
  const own = family.kvBlocks ?? blocks - sharedKvLayers
  const [local, global] = splitBlocks(family, own, slidingPattern)
  const wide = (family.kvHeadsGlobal ?? kvHeads) * (family.headSizeGlobal ?? size)
  const narrow = kvHeads * size
  const cached: CachedBlocks[] = [
    { blocks: global, keyWidth: local > 0 ? wide : narrow, valueWidth: local > 0 ? wide : narrow },
    ...(local > 0 && slidingWindow
      ? [{ blocks: local, keyWidth: narrow, valueWidth: narrow, window: slidingWindow }]
      : []),
  ]
  const total = family.parametersText ?? family.parameters
  const active = family.parametersActive ?? total
  const { experts = 0, expertsUsed = 0, expertFeedForward = 0 } = family
  const inExperts =
    experts > 0 ? Math.min(0.97, (blocks * 3 * embedding * expertFeedForward * experts) / total) : 0
  const activeShare =
    experts > 0 && inExperts > 0
      ? 1 - inExperts + (inExperts * expertsUsed) / experts
      : Math.min(1, active / total)
  return { blocks, embedding, vocabulary, cached, expertShare: inExperts, activeShare }
}

function splitBlocks(
  family: Family,
  own: number,
  pattern: string | undefined,
): [local: number, global: number] {
  if (family.slidingWindow === undefined) return [0, own]
  const [, local = '0', global = '1'] = /(\d+) local : (\d+) global/.exec(pattern ?? '') ?? []
  const share = Number(local) / (Number(local) + Number(global))
  const localBlocks =
    family.localBlocks !== undefined && own === family.blocks ? family.localBlocks : Math.floor(own * share)
  return [localBlocks, own - localBlocks]
}

/** The shape of a file. Metadata that is missing or absurd counts as that of plain attention. */
export function shapeOfHeader({ metadata, tensors }: Pick<Gguf, 'metadata' | 'tensors'>): Shape {
  const architecture = metadata.get('general.architecture')
  const prefix = architecture?.type === 'string' ? architecture.value : ''
  const numbers = (key: string): number[] => {
    const found = metadata.get(`${prefix}.${key}`)
    const values: unknown[] =
      found?.type === 'array' ? Array.from(found.value as Iterable<unknown>) : found ? [found.value] : []
    return values.map(Number).filter((value) => Number.isFinite(value) && value >= 0 && value < 1e9)
  }
  const one = (key: string): number | undefined => numbers(key)[0]
  const blocks = Math.min(one('block_count') ?? 0, 10_000)
  const embedding = one('embedding_length') ?? 0
  const heads = numbers('attention.head_count')
  const kvHeads = numbers('attention.head_count_kv')
  const at = (list: readonly number[], i: number): number => list[Math.min(i, list.length - 1)] ?? 0
  const size = heads[0] ? embedding / heads[0] : 0
  const [key, value] = [one('attention.key_length') ?? size, one('attention.value_length') ?? size]
  const [keyLocal, valueLocal] = [
    one('attention.key_length_swa') ?? key,
    one('attention.value_length_swa') ?? value,
  ]
  const window = one('attention.sliding_window') ?? 0
  const pattern = numbers('attention.sliding_window_pattern')
  const shared = one('attention.shared_kv_layers') ?? 0
  const names = new Set(tensors.map(({ name }) => name))
  const isLocal = (i: number): boolean =>
    window > 0 &&
    (pattern.length > 1 ? at(pattern, i) === 1 : (i + 1) % (pattern[0] ?? defaultPeriod(prefix)) !== 0)
  const cached: CachedBlocks[] = []
  for (let i = 0; i < blocks - shared; i++) {
    if (
      names.size > 0 &&
      !['attn_k.weight', 'attn_qkv.weight', 'attn_kv_a_mqa.weight'].some((name) =>
        names.has(`blk.${i}.${name}`),
      )
    )
      continue
    const count = kvHeads.length > 0 ? at(kvHeads, i) : at(heads, i)
    const local = isLocal(i)
    cached.push({
      blocks: 1,
      keyWidth: count * (local ? keyLocal : key),
      valueWidth: count * (local ? valueLocal : value),
      ...(local && { window }),
    })
  }
  const bytes = (list: typeof tensors): number => list.reduce((sum, tensor) => sum + tensor.bytes, 0)
  const experts = bytes(tensors.filter(({ name }) => /_exps\./.test(name)))
  const total = Math.max(1, bytes(tensors))
  const [count = 0, used = 0] = [one('expert_count'), one('expert_used_count')]
  // Of the embedding a token reads one row, unless it is the output too.
  const rows = names.has('output.weight')
    ? bytes(tensors.filter(({ name }) => name === 'token_embd.weight'))
    : 0
  const idle = rows + (count > 0 ? experts * (1 - Math.min(1, used / count)) : 0)
  const vocabulary = metadata.get('tokenizer.ggml.tokens')
  return {
    ...{ blocks, embedding, cached },
    vocabulary: vocabulary?.type === 'array' ? vocabulary.value.length : 0,
    expertShare: experts / total,
    activeShare: 1 - idle / total,
  }
}

/** Period of global blocks where the file does not say. */
const defaultPeriod = (architecture: string): number =>
  ({ gemma3: 6, gemma4: 6, 'gpt-oss': 2, gemma2: 2 })[architecture] ?? 1
