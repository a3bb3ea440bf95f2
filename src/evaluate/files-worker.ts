/**
 * Reads the headers of files to be compared, on a separate thread, since a vocabulary of hundreds of thousands of tokens takes
 * a while: their properties, and whether their tokenizers are equivalent.
 */
import { createHash } from 'node:crypto'
import { workerData } from 'node:worker_threads'
import { FileError } from '../errors.js'
import { type Metadata, openGguf } from '../gguf/index.js'
import { summarize } from '../gguf/summary.js'
import { answer } from '../workers.js'
import type { ComparableFile } from './files.js'

/** The data that determines how a tokenizer splits text. */
interface Tokenizer {
  /** Text of every token. */
  readonly tokens: readonly string[]
  /** Merges of byte-pair tokenizers. */
  readonly merges: readonly string[]
  /** Kind, pre-tokenizer, flags. */
  readonly settings: Readonly<Record<string, string>>
  /** Ids of special tokens. */
  readonly special: Readonly<Record<string, string>>
}

const settingKeys = ['model', 'pre', 'add_bos_token', 'add_space_prefix', 'remove_extra_whitespaces']
const specialKeys = ['bos_token_id', 'eos_token_id', 'eot_token_id', 'unknown_token_id']

await answer(() => readAll(workerData as readonly string[]))

async function readAll(paths: readonly string[]): Promise<ComparableFile[]> {
  const all: ComparableFile[] = []
  let first: Tokenizer | undefined
  for (const path of paths) {
    const gguf = await openGguf(path)
    try {
      const tokenizer = tokenizerOf(gguf.metadata)
      first ??= tokenizer
      checkTokenizer(paths[0], first, path, tokenizer)
      const vocabulary = tokenizer.tokens.length
      // The tokenizers of the other files are equivalent.
      const hash = all[0]?.tokenizer ?? tokenizerHash(tokenizer)
      all.push({ path, ...(await summarize(gguf)), vocabulary, tokenizer: hash })
    } finally {
      await gguf.close()
    }
  }
  return all
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

/** @throws FileError if the tokenizer of the file at `path` is not equivalent to the reference's */
function checkTokenizer(reference: string, wanted: Tokenizer, path: string, own: Tokenizer): void {
  const { tokens, merges, settings, special } = own
  const differs = (problem: string) =>
    new FileError(path, `${problem} of the reference ${reference}: the two cannot be compared`)
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

/** SHA-256 over everything that distinguishes tokenizers. */
function tokenizerHash({ tokens, merges, settings, special }: Tokenizer): string {
  const hash = createHash('sha256')
  for (const texts of [tokens, merges]) hash.update(JSON.stringify(texts))
  for (const [named, keys] of [
    [settings, settingKeys],
    [special, ['bos_token_id']],
  ] as const)
    hash.update(JSON.stringify(keys.map((key) => named[key] ?? null)))
  return hash.digest('hex')
}
