/** Files that were converted split text into the tokens that Transformers' tokenizers give: libllama against @huggingface/tokenizers. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Tokenizer } from '@huggingface/tokenizers'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { convertCheckpoint } from '../../src/convert/index.js'
import { LlamaModel } from '../../src/llama/index.js'
import { type Family, writeCheckpoint } from '../support/checkpoints.js'
import { oddLines } from '../support/lines.js'
import { byteLevelBpe, spacedBpe, type TokenizerFiles, unigram } from '../support/tokenizer-files.js'

const text = readFileSync(new URL('../../models/quench-5m.test.txt', import.meta.url), 'utf8').slice(
  0,
  30_000,
)
let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'quench-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

interface Case {
  readonly name: string
  readonly family: Family
  readonly tokenizer: () => TokenizerFiles
  /** The tokenizer that the oracle reads, if it is another spelling of the same. */
  readonly oracle?: () => TokenizerFiles
  /** Lines that the oracle splits otherwise than Transformers does. */
  readonly except?: RegExp
}

const cases: readonly Case[] = [
  { name: 'Llama 3', family: 'llama', tokenizer: () => byteLevelBpe(text, 'llama-bpe') },
  { name: 'SmolLM3', family: 'smollm3', tokenizer: () => byteLevelBpe(text, 'llama-bpe', 400, true) },
  {
    name: 'SmolLM2',
    family: 'llama',
    tokenizer: () => byteLevelBpe(text, 'smollm'),
    // Single digits are every \p{N} in Rust's tokenizers, as in llama.cpp, and only \d here.
    except: /[\p{No}\p{Nl}]/u,
  },
  { name: 'GPT-2', family: 'llama', tokenizer: () => byteLevelBpe(text, 'gpt-2') },
  { name: 'Mistral Nemo', family: 'mistral', tokenizer: () => byteLevelBpe(text, 'tekken') },
  { name: 'GPT-4o', family: 'llama', tokenizer: () => byteLevelBpe(text, 'gpt-4o') },
  { name: 'Qwen', family: 'qwen3', tokenizer: () => byteLevelBpe(text, 'qwen2', 400, true) },
  { name: 'Llama 2 as tokenizer.json', family: 'llama', tokenizer: () => spacedBpe(text) },
  {
    name: 'Llama 2 as tokenizer.model',
    family: 'llama',
    tokenizer: () => spacedBpe(text, { model: true, json: false }),
    oracle: () => spacedBpe(text),
  },
  {
    name: 'Gemma 3 as tokenizer.model',
    family: 'gemma3',
    tokenizer: () => spacedBpe(text, { model: true, prefix: false, json: false }),
    oracle: () => spacedBpe(text, { prefix: false }),
  },
  {
    name: 'Gemma 3 as tokenizer.json',
    family: 'gemma3',
    tokenizer: () => spacedBpe(text, { prefix: false }),
  },
  { name: 'Gemma 4', family: 'gemma4', tokenizer: () => spacedBpe(text, { prefix: false }) },
  { name: 'Unigram as tokenizer.json', family: 'llama', tokenizer: () => unigram(text) },
  {
    name: 'Unigram as tokenizer.model',
    family: 'llama',
    tokenizer: () => unigram(text, { model: true }),
    oracle: () => unigram(text),
  },
]

test.each(cases)('$name', async ({ name, family, tokenizer, oracle, except }) => {
  const checkpoint = join(folder, name.replaceAll(' ', '-'))
  const files = tokenizer()
  writeCheckpoint(checkpoint, { family, tokenizer: files })
  const output = `${checkpoint}.gguf`
  await convertCheckpoint({ folder: checkpoint, output })
  const expected = (oracle?.() ?? files).files
  const reference = new Tokenizer(
    expected['tokenizer.json'] as object,
    expected['tokenizer_config.json'] as object,
  )
  const model = await LlamaModel.load(output, { vocabOnly: true })
  try {
    const wrong = oddLines(300).filter((line) => {
      if (except?.test(line)) return false
      const ids = [...model.tokenize(line.normalize('NFC'), { addSpecial: true, parseSpecial: true })]
      return ids.join() !== reference.encode(line.normalize('NFC')).ids.join()
    })
    expect(wrong).toEqual([])
  } finally {
    model.dispose()
  }
})
