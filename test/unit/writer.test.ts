/** What follows the end of a document or a turn, and how loops are cut, without a model. */
import { describe, expect, test } from 'vitest'
import { Writer, type WriterOptions } from '../../src/llama/writer.js'
import { Random } from '../../src/random.js'

const bos = 100
const eos = 101
const model = { bos, eos, isEog: (token: number) => token === eos }
const write = (beginning: number[], drawn: number[], options: WriterOptions): Writer => {
  const writer = new Writer(model, new Random(1), Int32Array.from(beginning), options)
  for (const token of drawn) {
    writer.decoded = writer.count
    if (!writer.finished) writer.add(token)
  }
  return writer
}
const known = ({ tokens, count }: Writer): number[] => Array.from(tokens.subarray(0, count))

describe('documents', () => {
  test('a new one begins after the end of one', () => {
    expect(known(write([bos], [1, eos, 2, 3], { length: 10 }))).toEqual([bos, 1, eos, bos, 2, 3])
    expect(known(write([bos], [1, eos, 2], { length: 3 }))).toEqual([bos, 1, eos])
    expect(known(write([bos, 1, 2, 3], [4], { length: 3 }))).toEqual([bos, 1, 2])
  })
})

describe('turns', () => {
  const turns = {
    toAssistant: Int32Array.of(eos, 50, 51),
    toUser: Int32Array.of(60),
    longestUserTurn: 3,
  }

  test('the template follows what ends a turn, and its own ending is not written twice', () => {
    const drawn = [1, 2, eos, 3, eos, 4]
    const writer = write([bos, 40], drawn, { length: 20, turns })
    expect(known(writer)).toEqual([bos, 40, 1, 2, eos, 50, 51, 3, eos, 60, 4])
  })

  test('a user who speaks for too long is ended; the assistant is not', () => {
    const writer = write([bos, 40], [1, 2, 3, 4, 5, 6, 7], { length: 20, turns })
    expect(known(writer)).toEqual([bos, 40, 1, 2, 3, eos, 50, 51, 4, 5, 6, 7])
  })
})

describe('loops', () => {
  const loop = (period: number[], times: number): number[] =>
    Array.from({ length: times }, () => period).flat()

  test('all but the first round is taken back, and a new document begins', () => {
    const forgotten: number[] = []
    const forget = (position: number): boolean => {
      forgotten.push(position)
      return true
    }
    const writer = write([bos], [7, 8, ...loop([1, 2, 3], 9), 9], { length: 200, forget })
    expect(known(writer)).toEqual([bos, 7, 8, 1, 2, 3, eos, bos, 9])
    expect(forgotten).toEqual([6])
    expect(writer.decoded).toBe(8)
  })

  test('what cannot be forgotten stays', () => {
    const writer = write([bos], [...loop([1], 25), 9], { length: 200, forget: () => false })
    expect(known(writer)).toEqual([bos, ...loop([1], 25), eos, bos, 9])
  })

  test('long rounds count when they come four times; fewer, or without the option, stay', () => {
    const round = Array.from({ length: 20 }, (_, i) => i)
    const forget = (): boolean => true
    expect(known(write([bos], loop(round, 4), { length: 200, forget }))).toEqual([bos, ...round, eos, bos])
    const three = loop(round, 3)
    expect(known(write([bos], three, { length: 200, forget }))).toEqual([bos, ...three])
    expect(known(write([bos], loop([1], 60), { length: 200 }))).toEqual([bos, ...loop([1], 60)])
  })

  test('documents and turns are apart: the same short answer again and again is no loop', () => {
    const answers = loop([1, eos], 40)
    expect(write([bos], answers, { length: 200, forget: () => true }).count).toBe(1 + 3 * 40)
  })
})
