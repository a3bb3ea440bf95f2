/** What is known of the files before they run: sizes and types for the report, and whether they can be compared. */
import { createHash } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import { FileError } from '../errors.js'
import { type Metadata, openGguf } from '../gguf/index.js'
import { type Summary, summarize } from '../gguf/summary.js'

export interface ComparableFile extends Summary {
  readonly path: string
  readonly tokenizer: Tokenizer
}

/** What makes a tokenizer: its text is cut in the same way by two that have the same. */
export interface Tokenizer {
  /** Text of every token. */
  readonly tokens: readonly string[]
  /** Pairs that are merged, of byte-pair tokenizers. */
  readonly merges: readonly string[]
  /** Kind, pre-tokenizer, flags. */
  readonly settings: Readonly<Record<string, string>>
  /** Ids of special tokens. */
  readonly special: Readonly<Record<string, string>>
}

const settingKeys = ['model', 'pre', 'add_bos_token', 'add_space_prefix', 'remove_extra_whitespaces']
const specialKeys = ['bos_token_id', 'eos_token_id', 'eot_token_id', 'unknown_token_id']

/** Reads the headers. @throws FileError for a file of another vocabulary or tokenizer than the first's */
export async function openComparable(paths: readonly string[]): Promise<ComparableFile[]> {
  const all: ComparableFile[] = []
  for (const path of paths) {
    const file = await readFacts(path)
    if (all.length > 0) checkTokenizer(all[0].path, all[0].tokenizer, file)
    // The texts of the first stand for all.
    all.push(all.length > 0 ? { ...file, tokenizer: all[0].tokenizer } : file)
    await setImmediate()
  }
  return all
}

async function readFacts(path: string): Promise<ComparableFile> {
  const gguf = await openGguf(path)
  try {
    return { path, ...(await summarize(gguf)), tokenizer: tokenizerOf(gguf.metadata) }
  } finally {
    await gguf.close()
  }
}

function tokenizerOf(metadata: Metadata): Tokenizer {
  const named = (keys: readonly string[]): Record<string, string> => {
    const entries = keys.flatMap((key) => {
      const value = metadata.get(`tokenizer.ggml.${key}`)
      return value === undefined || value.type === 'array' ? [] : [[key, String(value.value)] as const]
    })
    return Object.fromEntries(entries)
  }
  const merges = 'tokenizer.ggml.merges'
  return {
    tokens: metadata.strings('tokenizer.ggml.tokens'),
    merges: metadata.has(merges) ? metadata.strings(merges) : [],
    settings: named(settingKeys),
    special: named(specialKeys),
  }
}

/** @throws FileError if `file` cuts text into other tokens than the reference at `path` */
function checkTokenizer(path: string, wanted: Tokenizer, file: ComparableFile): void {
  const { tokens, merges, settings, special } = file.tokenizer
  const differs = (problem: string) =>
    new FileError(file.path, `${problem} of the reference ${path}: the two cannot be compared`)
  if (tokens.length !== wanted.tokens.length)
    throw differs(`its vocabulary has ${tokens.length} tokens, not the ${wanted.tokens.length}`)
  const token = tokens.findIndex((text, i) => text !== wanted.tokens[i])
  if (token >= 0) throw differs(`token ${token} of its vocabulary is not that`)
  const merge = Math.max(merges.length, wanted.merges.length)
  for (let i = 0; i < merge; i++)
    if (merges[i] !== wanted.merges[i]) throw differs(`merge ${i} of its tokenizer is not that`)
  for (const key of settingKeys)
    if (settings[key] !== wanted.settings[key])
      throw differs(
        `tokenizer.ggml.${key} is ${settings[key] ?? 'missing'}, not the ${wanted.settings[key] ?? 'missing value'}`,
      )
  for (const key of specialKeys) {
    const [own, theirs] = [special[key], wanted.special[key]]
    if (own !== undefined && theirs !== undefined && own !== theirs)
      throw differs(`tokenizer.ggml.${key} is ${own}, not the ${theirs}`)
  }
}

/** SHA-256 over everything by which tokenizers are told apart. */
export function tokenizerHash({ tokens, merges, settings, special }: Tokenizer): string {
  const hash = createHash('sha256')
  for (const texts of [tokens, merges]) hash.update(JSON.stringify(texts))
  for (const [named, keys] of [
    [settings, settingKeys],
    [special, ['bos_token_id']],
  ] as const)
    hash.update(JSON.stringify(keys.map((key) => named[key] ?? null)))
  return hash.digest('hex')
}
