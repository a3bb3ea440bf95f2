/** Which token a byte of a text belongs to, for tokenizers that change what is between words. */
import { expect, test } from 'vitest'
import { tokenAt, tokenEnds } from '../../src/evaluate/tasks/token-ends.js'
import type { LlamaModel } from '../../src/llama/index.js'

const [bos, eos] = [0, 1]
/** A vocabulary of pieces; tokens are their places in it, after BOS and EOS. */
const endsOf = (text: string, ...pieces: string[]): number[] | undefined => {
  const all = ['<s>', '</s>', ...pieces]
  const model = { bos, eos, tokenBytes: (token: number) => Buffer.from(all[token]) } as unknown as LlamaModel
  const tokens = Int32Array.from(pieces, (piece) => all.indexOf(piece))
  const ends = tokenEnds(model, tokens, Buffer.from(text))
  return ends && [...ends]
}

test('tokens that spell the text', () => {
  expect(endsOf('héllo you', 'hé', 'llo', ' you')).toEqual([3, 6, 10])
})

test('BOS and EOS that are not written, and that are', () => {
  expect(endsOf('a', '<s>', 'a', '</s>')).toEqual([0, 1, 1])
  expect(endsOf('<s>a', '<s>', 'a')).toEqual([3, 4])
})

test('a space put before the text, and spaces left out after a special token', () => {
  expect(endsOf('a b', ' a', ' b')).toEqual([1, 3])
  expect(endsOf('<|end|>\n\nb', '<|end|>', 'b')).toEqual([7, 10])
})

test('a text in other words', () => {
  expect(endsOf('Hello', 'hello')).toBeUndefined()
})

test('the token that holds a byte; one without bytes holds none', () => {
  const ends = Int32Array.of(0, 3, 3, 7)
  expect([0, 2, 3, 6, 7].map((at) => tokenAt(ends, at))).toEqual([1, 1, 3, 3, 4])
})
