/**
 * Problems of files that can be read but not used, as far as the header shows: named by their cause, where llama.cpp reports a
 * consequence or nothing. `inspect` shows such files with remarks. Source of the rules: the loader of llama.cpp v0.5.0.
 */
import type { GgufValue, Metadata } from './metadata.js'
import { type Gguf, openGguf } from './reader.js'
import { quote } from './text.js'

/** llama.cpp's LLAMA_MAX_LAYERS. */
const maxBlocks = 512
/** ggml's TENSOR_ALIGNMENT. */
const leastAlignment = 32

/** The most specific of `headerProblems`. @throws FileError if the header cannot be read */
export async function headerProblem(path: string): Promise<string | undefined> {
  const gguf = await openGguf(path)
  try {
    return headerProblems(gguf)[0]
  } finally {
    await gguf.close()
  }
}

/** Why llama.cpp cannot use the file, as far as its header shows: predicates of a sentence, the most specific first. */
export function headerProblems(gguf: Gguf): string[] {
  const { metadata } = gguf
  return [
    kindProblem(gguf),
    typeProblem(metadata, 'general.alignment', ['uint32']),
    typeProblem(metadata, 'general.file_type', ['uint32', 'int32', 'uint64', 'int64', 'uint16', 'uint8']),
    alignmentProblem(metadata),
    vocabularyProblem(metadata),
    blockProblem(gguf),
    expertProblem(metadata),
    epsilonProblem(metadata),
    duplicateProblem(metadata),
    rowsProblem(gguf),
  ].filter((problem) => problem !== undefined)
}

/** The problems that only show when the model runs and not when it is loaded. */
export function runProblem({ metadata }: Gguf): string | undefined {
  return alignmentProblem(metadata) ?? epsilonProblem(metadata)
}

/** For files that are not models. */
function kindProblem({ metadata, tensors }: Gguf): string | undefined {
  const [type, architecture] = ['general.type', 'general.architecture'].map((key) => textOf(metadata, key))
  if (architecture === 'clip' || type === 'mmproj')
    return 'it is a projector of images or sound (mmproj), not a language model; name the model that it belongs to'
  if (type === 'adapter') return 'it is an adapter (LoRA), not a model; merge it into its model first'
  if (architecture === 'controlvector') return 'it is a control vector, not a model'
  if (type === 'imatrix') return 'it is an importance matrix, not a model'
  if (tensors.length === 0) return 'it holds no tensors, only a vocabulary; get the file that has the weights'
  return undefined
}

function typeProblem(metadata: Metadata, key: string, allowed: GgufValue['type'][]): string | undefined {
  const found = metadata.get(key)
  if (found === undefined || allowed.includes(found.type)) return undefined
  const article = /^[aeio]/.test(found.type) ? 'an' : 'a'
  return `${key} is ${article} ${found.type}, not a ${allowed[0]}`
}

function alignmentProblem(metadata: Metadata): string | undefined {
  const value = metadata.get('general.alignment')?.value
  if (typeof value !== 'number' || value >= leastAlignment) return undefined
  return `general.alignment is ${value}, and llama.cpp needs ${leastAlignment} or more`
}

function vocabularyProblem(metadata: Metadata): string | undefined {
  const model = textOf(metadata, 'tokenizer.ggml.model')
  if (model !== 'none' && model !== 'no_vocab') return undefined
  return `it has no vocabulary (tokenizer.ggml.model is ${model}), so it reads no text`
}

function blockProblem({ metadata, tensors }: Gguf): string | undefined {
  const { key, value } = hyperparameter(metadata, 'block_count')
  if (value === undefined || (value >= 1 && value <= maxBlocks)) return undefined
  const blocks = new Set(tensors.flatMap(({ name }) => /^blk\.(\d+)\./.exec(name)?.[1] ?? []))
  return `${key} is ${value}, not 1 to ${maxBlocks}, and it has tensors of ${blocks.size} blocks`
}

function expertProblem(metadata: Metadata): string | undefined {
  const all = hyperparameter(metadata, 'expert_count')
  const used = hyperparameter(metadata, 'expert_used_count')
  const [count, usedCount] = [all.value ?? 0, used.value ?? 0]
  if (count > 0 ? usedCount >= 1 && usedCount <= count : usedCount === 0) return undefined
  return `of ${count} experts (${all.key}) it uses ${usedCount} (${used.key})`
}

function epsilonProblem(metadata: Metadata): string | undefined {
  for (const name of ['layer_norm_rms_epsilon', 'layer_norm_epsilon']) {
    const { key, value } = hyperparameter(metadata, `attention.${name}`)
    if (value !== undefined && !(value >= 0 && value < 1))
      return `${key} is ${value}, which is no epsilon of a norm`
  }
  return undefined
}

/** llama.cpp looks tokens up by their text. */
function duplicateProblem(metadata: Metadata): string | undefined {
  const ids = new Map<string, number>()
  for (const [id, text] of tokensOf(metadata).entries()) {
    const first = text === '' ? undefined : ids.get(text) // llama.cpp replaces empty tokens by unique texts
    if (first !== undefined)
      return `the tokens ${first} and ${id} of its vocabulary have the same text, ${quote(text)}, with which llama.cpp does not load`
    ids.set(text, id)
  }
  return undefined
}

function rowsProblem(gguf: Gguf): string | undefined {
  const tokens = tokensOf(gguf.metadata).length
  const rows = gguf.has('token_embd.weight') ? gguf.tensor('token_embd.weight').shape[1] : undefined
  if (tokens === 0 || rows === undefined || rows === tokens) return undefined
  return `its vocabulary has ${tokens} tokens and its embedding (token_embd.weight) ${rows} rows; convert the model again with its own tokenizer`
}

function hyperparameter(metadata: Metadata, name: string): { key: string; value: number | undefined } {
  const key = `${textOf(metadata, 'general.architecture')}.${name}`
  const found = metadata.get(key)
  const isNumber = typeof found?.value === 'number' || typeof found?.value === 'bigint'
  return { key, value: isNumber ? Number(found.value) : undefined }
}

function textOf(metadata: Metadata, key: string): string | undefined {
  const found = metadata.get(key)
  return found?.type === 'string' ? found.value : undefined
}

function tokensOf(metadata: Metadata): readonly string[] {
  const found = metadata.get('tokenizer.ggml.tokens')
  return found?.type === 'array' && found.itemType === 'string' ? found.value : []
}
