/** Texts of odd sizes and contents: few tokens of a long one, what suits no model, and questions that are too long. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { FileError } from '../../src/errors.js'
import { evaluateChoices, evaluateFiles, readChoices } from '../../src/evaluate/index.js'
import { cutEvaluation } from '../../src/evaluate/windows.js'
import { createGguf, type GgufValue, Metadata } from '../../src/gguf/index.js'
import { LlamaModel } from '../../src/llama/index.js'
import { Random } from '../../src/random.js'
import { readText } from '../../src/training-text/text.js'
import { tinyVocabulary, writeTinyGguf } from '../support/tiny-gguf.js'
import { wordText } from '../support/word-text.js'

const shipped = 'models/quench-5m-f16.gguf'
let folder: string
let tiny: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-odd-'))
  tiny = join(folder, 'tiny.gguf')
  await writeTinyGguf(tiny)
})
afterAll(() => rm(folder, { recursive: true }))

/** A vocabulary of SentencePiece: bytes, letters, and pairs of what is before them, with the scores of their places. */
async function pieceVocabulary(): Promise<string> {
  const path = join(folder, 'pieces.gguf')
  const random = new Random(2)
  const letters = ['▁', ...'abcdefghijklmnopqrstuvwxyz']
  const pieces = [...letters]
  while (pieces.length < 600) {
    const pair = pieces[random.int(pieces.length)] + pieces[random.int(pieces.length)]
    if (pair.length <= 12 && !pieces.includes(pair)) pieces.push(pair)
  }
  const bytes = Array.from({ length: 256 }, (_, i) => `<0x${i.toString(16).toUpperCase().padStart(2, '0')}>`)
  const tokens = ['<unk>', '<s>', '</s>', ...bytes, ...pieces]
  const types = tokens.map((_, i) => (i === 0 ? 2 : i < 3 ? 3 : i < 259 ? 6 : 1))
  const scores = tokens.map((_, i) => (i < 259 ? 0 : 259 - i))
  const text = (value: string): GgufValue => ({ type: 'string', value })
  const metadata = new Metadata(path, [
    ['general.architecture', text('llama')],
    ['tokenizer.ggml.model', text('llama')],
    ['tokenizer.ggml.tokens', { type: 'array', itemType: 'string', value: tokens }],
    ['tokenizer.ggml.scores', { type: 'array', itemType: 'float32', value: Float32Array.from(scores) }],
    ['tokenizer.ggml.token_type', { type: 'array', itemType: 'int32', value: Int32Array.from(types) }],
  ])
  await (await createGguf(path, { metadata, tensors: [] })).finish()
  return path
}

describe('few tokens of a long text', () => {
  const random = new Random(8)
  const letters = (count: number, of: string): string =>
    Array.from({ length: count }, () => of[random.int(of.length)]).join('')
  const texts: Record<string, string> = {
    words: wordText(20_000),
    'one word': letters(80_000, 'abcdefgh'),
    'one letter': 'a'.repeat(80_000),
    pairs: '🙂é'.repeat(20_000),
    lines: `${letters(70, 'abc \t')}\n`.repeat(1200),
  }

  it.each(['shipped', 'pieces'])('are those of the whole text, with the vocabulary %s', async (name) => {
    using model = await LlamaModel.load(name === 'shipped' ? shipped : await pieceVocabulary(), {
      vocabOnly: true,
    })
    const tokenize = vi.spyOn(model, 'tokenizeAsync')
    for (const text of Object.values(texts)) {
      const whole = await cutEvaluation(model, text, 64)
      tokenize.mockClear()
      const few = await cutEvaluation(model, [text, 'never read'], 64, 1000)
      expect(few.count).toBe(15)
      for (let i = 0; i < few.count; i++) expect(few.at(i)).toEqual(whole.at(i))
      // Of every text less was tokenized than there is.
      expect(tokenize.mock.calls.length).toBeGreaterThan(0)
      for (const [part] of tokenize.mock.calls) expect(part.length).toBeLessThan(text.length)
    }
  })
})

it('a perplexity above the size of the vocabulary is remarked on', async () => {
  const random = new Random(1)
  const tokens = Int32Array.from({ length: 512 }, () => random.int(2048))
  const options = { files: [shipped], context: 64, threads: 1 }
  const { warnings, vocabulary } = await evaluateFiles({ ...options, reference: shipped, text: tokens })
  expect(vocabulary).toBe(2048)
  expect(warnings).toHaveLength(1)
  expect(warnings[0]).toMatch(
    /^perplexity is above 2048, .* worse than a uniform guess, for models\/quench-5m-f16\.gguf \(/,
  )
  const text = 'The ship had been at sea.\r\n'.repeat(60)
  const plain = await evaluateFiles({ ...options, reference: shipped, text })
  expect(plain.warnings).toEqual([expect.stringMatching(/^text 1: lines end with CRLF/)])
})

it('lines that end as on Windows are remarked on in training text too', async () => {
  const path = join(folder, 'windows.txt')
  await writeFile(path, 'The ship had been at sea.\r\n'.repeat(60))
  const warnings: string[] = []
  const { files } = await readText(shipped, {
    ...{ data: [path], tokens: 512, length: 32, seed: 1, fingerprint: '' },
    onWarning: (warning: string) => warnings.push(warning),
  })
  expect(files.length).toBeGreaterThan(2)
  expect(warnings).toEqual([expect.stringMatching(/windows\.txt: lines end with CRLF/)])
})

it('a question that is longer than what the model can read is refused', async () => {
  const path = join(folder, 'long.jsonl')
  const ask = async (question: unknown, first = { context: 'a', choices: ['b', 'c'], answer: 0 }) => {
    await writeFile(path, `${JSON.stringify(first)}\n${JSON.stringify(question)}\n`)
    return evaluateChoices({ files: [tiny], tasks: await readChoices(path), threads: 1 })
  }
  const long = 'x'.repeat(200_000)
  for (const question of [
    { context: 'a', choices: ['b', long], answer: 0 },
    { context: long, choices: ['b', 'c'], answer: 0 },
  ]) {
    const error = await ask(question).catch((e: unknown) => e)
    expect(error).toBeInstanceOf(FileError)
    expect((error as FileError).message).toMatch(
      /long\.jsonl: question 2 takes \d+ tokens .* more than the 1024 that/,
    )
  }
  expect(tinyVocabulary).toBeGreaterThan(255) // bytes, so that a letter is a token
  const wide = {
    context: 'a',
    choices: Array.from({ length: 100 }, (_, i) => `${i} ${'x'.repeat(900)}`),
    answer: 0,
  }
  await expect(ask(wide)).rejects.toThrow(/question 2 takes \d+ tokens with all of its choices/)
})
