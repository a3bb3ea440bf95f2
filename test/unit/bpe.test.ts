/** The tokenizer of the shipped model: its byte alphabet, its learner on texts small enough to follow by hand, its inverse. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { byteAlphabet, END_OF_TEXT, learnBpe } from '../../scripts/model/bpe.js'
import { clean, loadCorpus } from '../../scripts/model/corpus.js'

const sample = 'The whale, the white whale! They called him the whale of the seas; he called them nothing.'

describe('byte alphabet', () => {
  it('is the one of GPT-2', () => {
    expect(new Set(byteAlphabet).size).toBe(256)
    expect(byteAlphabet[0x41]).toBe('A')
    expect(byteAlphabet[0x20]).toBe('Ġ')
    expect(byteAlphabet[0x0a]).toBe('Ċ')
    expect(byteAlphabet[0x7f]).toBe('ġ')
    expect(byteAlphabet[0xad]).toBe('Ń')
    expect(byteAlphabet[0xff]).toBe('ÿ')
  })
})

describe('learnBpe', () => {
  it('merges the most frequent pair first', () => {
    // ab occurs 3 times, a space before a (by then before ab) twice, bc and bd once.
    const { tokens } = learnBpe(['abc abd ab'], 259)
    expect(tokens.slice(256)).toEqual(['ab', 'Ġab', END_OF_TEXT])
  })

  it('breaks ties by the smaller left, then right byte', () => {
    expect(learnBpe(['zy', 'xw', 'xv'], 258).tokens[256]).toBe('xv')
  })

  it('counts overlapping repeats and merges them from the left', () => {
    const bpe = learnBpe(['aaaa'], 259)
    expect(bpe.tokens.slice(256)).toEqual(['aa', 'aaaa', END_OF_TEXT])
    expect([...bpe.encode('aaaaa')]).toEqual([257, 97])
    expect([...bpe.encode('aaa')]).toEqual([256, 97])
  })

  it('is the same for the same text, whatever the order of its parts', () => {
    const parts = [sample, 'Call me Ishmael. ', 'Fellow-Citizens of the Senate']
    const metadata = learnBpe(parts, 280).metadata()
    expect(learnBpe(parts.toReversed(), 280).metadata()).toEqual(metadata)
  })

  it('never merges across words', () => {
    const { tokens } = learnBpe([sample], 290)
    for (const token of tokens.slice(256, -1)) expect(token).not.toMatch(/.Ġ/)
  })

  it('says so when the text is too small or the size is out of range', () => {
    expect(() => learnBpe(['ab'], 1000)).toThrow('the text has pairs for only 258 of 1000 tokens')
    expect(() => learnBpe([sample], 256)).toThrow('257 to 65535')
    expect(() => learnBpe([sample], 65536)).toThrow('257 to 65535')
  })
})

describe('Bpe', () => {
  const bpe = learnBpe([sample], 290)

  it('encodes bytes as themselves when nothing was learned', () => {
    expect([...learnBpe([], 257).encode('é🙂')]).toEqual([...Buffer.from('é🙂')])
  })

  it('cuts words as GPT-2 does', () => {
    // The space before a word belongs to it, and earlier spaces stand alone.
    expect([...bpe.encode('  whale')]).toEqual([0x20, bpe.tokens.indexOf('Ġwhale')])
    // Letters, digits and 's are words of their own, so nothing else of this text can merge.
    const text = " n4n x's".repeat(9)
    expect(learnBpe([text], 260).tokens.slice(256)).toEqual(['Ġn', 'Ġx', "'s", END_OF_TEXT])
    expect(() => learnBpe([text], 261)).toThrow('only 260 of 261')
  })

  it('decodes what it encoded', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(bpe.decode(bpe.encode(text))).toBe(Buffer.from(text).toString())
      }),
    )
  })

  it('treats the special token inside a text as text', () => {
    expect(bpe.endOfText).toBe(289)
    expect([...bpe.encode(END_OF_TEXT)]).not.toContain(289)
    expect(bpe.decode([...bpe.encode('whale'), bpe.endOfText])).toBe('whale')
  })

  it('gives metadata of matching lengths', () => {
    const metadata = new Map(bpe.metadata())
    expect(metadata.get('tokenizer.ggml.tokens')?.value).toHaveLength(290)
    expect(metadata.get('tokenizer.ggml.merges')?.value).toHaveLength(290 - 257)
    const types = metadata.get('tokenizer.ggml.token_type')?.value
    expect(types).toEqual(Int32Array.from({ length: 290 }, (_, id) => (id === 289 ? 3 : 1)))
  })
})

describe('corpus', () => {
  it('joins lines into paragraphs and drops what is not text', () => {
    expect(clean('  “It’s a\r\nwhale,”\u0002 he\u00a0said.\r\n\r\n\r\n \r\nNext – one.\n')).toBe(
      '"It\'s a whale," he said.\n\nNext - one.',
    )
  })

  it('holds out whole documents of both sources', () => {
    const { train, validation, test } = loadCorpus()
    expect([train.length, validation.length, test.length]).toEqual([349, 7, 15])
    const ids = [...train, ...validation, ...test].map((document) => document.id)
    expect(new Set(ids).size).toBe(138 + 233)
    for (const split of [validation, test]) {
      expect(split.some((document) => document.id.startsWith('chapter_'))).toBe(true)
      expect(split.some((document) => document.id.startsWith('20'))).toBe(true)
    }
  })
})
