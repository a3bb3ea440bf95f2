/** The shipped model's tokenizer against libllama's on the same vocabulary: every token of real text and of odd Unicode. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { Bpe, byteAlphabet, END_OF_TEXT, learnBpe } from '../../scripts/model/bpe.js'
import { joinDocuments, loadCorpus } from '../../scripts/model/corpus.js'
import { createGguf, Metadata } from '../../src/gguf/index.js'
import { LlamaModel } from '../../src/llama/index.js'

const { validation, test } = loadCorpus()
const bpe = learnBpe([joinDocuments(validation)], 700)
const directory = mkdtempSync(join(tmpdir(), 'quench-tokenizer-'))
let model: LlamaModel

/** A model that is nothing but the vocabulary. */
async function load(name: string, vocabulary: Bpe): Promise<LlamaModel> {
  const path = join(directory, `${name}.gguf`)
  const metadata = new Metadata(path, [
    ['general.architecture', { type: 'string', value: 'llama' }],
    ...vocabulary.metadata(),
  ])
  await (await createGguf(path, { metadata, tensors: [] })).finish()
  return LlamaModel.load(path, { vocabOnly: true })
}

beforeAll(async () => {
  model = await load('sample', bpe)
})

afterAll(() => {
  model?.dispose()
  rmSync(directory, { recursive: true })
})

/** libllama's tokens without the `<|endoftext|>` that it puts first. */
function reference(text: string): number[] {
  const [first, ...ids] = model.tokenize(text, { addSpecial: true })
  expect(first).toBe(bpe.endOfText)
  return ids
}

it('agrees on held-out text', () => {
  const text = joinDocuments(test)
  expect([...bpe.encode(text)]).toEqual(reference(text))
})

it.each([
  '',
  ' ',
  '\n',
  "I'll say it's what we've done, they're sure I'm late; he'd, can't, IT'S 'tis rock'n'roll 's'",
  'one  two   three \t four\n\nfive\r\n\r\n  six \n ',
  '1862 3,000,000 4.5% ½ ² Ⅷ ٣٤ 42nd x86_64',
  'naïve café Ærøskøbing e\u0301 n\u0303o İstanbul Straße',
  '漢字とひらがな、カタカナ。 한국어 العربية हिन्दी ไทย',
  '🙂 🙂🙂 👩‍👩‍👧 🇩🇪 👍🏽',
  '\u0000\u0001\u0007\u001b[0m\u007f\u0080\u0085x\u200b\ufeffy\ufffd',
  'a\u00a0b \u2003c\u2028d\u3000\u3000e \u1680 f',
  '<|endoftext|> <|im_start|>',
  '—--…“quoted” ‘text’ a—b',
  'unpaired \ud83d surrogate',
])('agrees on %j', (text) => {
  expect([...bpe.encode(text)]).toEqual(reference(text))
})

/**
 * Latin to Arabic, Latin with accents to Yi (punctuation, Kana and CJK between), Hangul, compatibility forms, emoji.
 * Node's Unicode is newer than libllama's, so blocks to which letters are still added would differ.
 */
const OLD_BLOCKS = [
  [0x0, 0x7ff],
  [0x1e00, 0xa48c],
  [0xac00, 0xd7a3],
  [0xf900, 0xffff],
  [0x1f300, 0x1faff],
]

it('cuts words by the same classes of characters', async () => {
  // A character before a, 1 and a dot is cut off unless it is a letter, a number or neither (white space: always),
  // so a vocabulary that merges any last byte with these three shows its class.
  const tokens = [...byteAlphabet]
  const merges = new Map<number, { rank: number; id: number }>()
  for (let byte = 0; byte < 0xc0; byte++) {
    for (const next of 'a1.') {
      const id = tokens.push(byteAlphabet[byte] + next) - 1
      merges.set(byte * 65536 + next.charCodeAt(0), { rank: merges.size, id })
    }
  }
  const classes = new Bpe([...tokens, END_OF_TEXT], merges)
  const reference = await load('classes', classes)
  const differing: string[] = []
  for (const [first, last] of OLD_BLOCKS) {
    for (let code = first; code <= last; code++) {
      const character = String.fromCodePoint(code)
      const text = `${character}a${character}1${character}.`
      if (!isDeepStrictEqual(reference.tokenize(text), classes.encode(text)))
        differing.push(code.toString(16))
    }
  }
  reference.dispose()
  expect(differing.join(' ')).toBe('')
})
