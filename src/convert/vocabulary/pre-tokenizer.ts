/**
 * How a byte-level BPE splits text into words, and llama.cpp's name for it (`tokenizer.ggml.pre`).
 *
 * llama.cpp's converter knows a tokenizer by a hash of the tokens of a test text, which fails for every new vocabulary, though only the way
 * of splitting matters: tokens and merges are in the file. So here the splitting itself is compared, which works for
 * any vocabulary. A way of splitting that is not in this table is refused, since another one would give other tokens.
 */
import type { Fields } from '../../checkpoint/index.js'
import { FileError } from '../../errors.js'
import { quote } from '../../gguf/index.js'
import type { TokenizerJson } from './tokenizer-json.js'

const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
const cased =
  '[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+?C|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*?C|'
const rest = '\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+'
const letters = (digits: string): string =>
  `${contractions}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|${rest}`
const withCase = (contraction: string, digits: string): string =>
  `${cased.replaceAll('?C', contraction)}${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|${rest}`

/** Steps of a pre-tokenizer in a canonical form, with llama.cpp's name. */
interface Known {
  readonly name: string
  readonly steps: readonly string[]
  /** Whether a word that is a token stays whole although no merges lead to it. */
  readonly wholeWords: boolean
}

const bytes = 'bytes'
const gpt2 = 'gpt-2 words'
const known: readonly Known[] = [
  { name: 'llama-bpe', steps: [letters('\\p{N}{1,3}'), bytes], wholeWords: true },
  { name: 'smaug-bpe', steps: [letters('\\p{N}{1,3}'), bytes], wholeWords: false },
  { name: 'qwen2', steps: [letters('\\p{N}'), bytes], wholeWords: false },
  {
    name: 'qwen35',
    steps: [
      `${contractions}|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|${rest}`,
      bytes,
    ],
    wholeWords: false,
  },
  { name: 'tekken', steps: [withCase('', '\\p{N}'), bytes], wholeWords: true },
  { name: 'gpt-4o', steps: [withCase(`${contractions}?`, '\\p{N}{1,3}'), bytes], wholeWords: false },
  { name: 'smollm', steps: ['single digits', gpt2], wholeWords: false },
  { name: 'gpt-2', steps: [gpt2], wholeWords: false },
]

/** @throws FileError for a way of splitting, or of normalizing, that llama.cpp does not have */
export function preTokenizerName({ path, file, model }: TokenizerJson): string {
  checkNormalizer(file.object('normalizer'))
  const pre = file.object('pre_tokenizer')
  const steps = pre ? stepsOf(pre) : []
  const wholeWords = model.value('ignore_merges') === true
  const splits = known.filter((each) => each.steps.join('\n') === steps.join('\n'))
  const found = splits.find((each) => each.wholeWords === wholeWords)
  if (found) return found.name
  const why =
    splits.length > 0
      ? `has 'ignore_merges' ${wholeWords}, which llama.cpp does not combine with its way of splitting text`
      : `splits text in a way that llama.cpp has no name for: ${quote(steps.join(', then ') || 'nothing')}`
  throw new FileError(path, why)
}

/** NFC is what llama.cpp leaves out for the models that have it; texts are nearly always in that form. */
function checkNormalizer(normalizer: Fields | undefined): void {
  if (!normalizer) return
  const all = normalizer.has('normalizers') ? normalizer.objects('normalizers') : [normalizer]
  const other = all.find((each) => each.value('type') !== 'NFC')
  if (other)
    throw new FileError(
      other.path,
      `normalizes text by ${quote(String(other.value('type')))}, which llama.cpp does not do for this kind of tokenizer`,
    )
}

function stepsOf(pre: Fields): string[] {
  const type = pre.string('type')
  if (type === 'Sequence') return pre.objects('pretokenizers').flatMap(stepsOf)
  if (type === 'ByteLevel' && pre.value('add_prefix_space') !== true)
    return [pre.value('use_regex') === false ? bytes : gpt2]
  if (type === 'Digits' && pre.value('individual_digits') === true) return ['single digits']
  if (type === 'Split') {
    const pattern = pre.object('pattern')?.value('Regex')
    const inverted = pre.value('invert') === true
    // Removed and inverted is what Isolated is, for a pattern that leaves nothing between its matches.
    const behavior = pre.value('behavior')
    const isolated = (behavior === 'Isolated' && !inverted) || (behavior === 'Removed' && inverted)
    if (typeof pattern === 'string' && isolated) return [pattern]
  }
  return [JSON.stringify(pre.values)]
}
