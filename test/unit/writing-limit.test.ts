/** Texts that are given up so that the others are finished in time. */
import { expect, test } from 'vitest'
import { WritingLimit } from '../../src/llama/writing-limit.js'

/** Writes texts with a batch that takes `ms` milliseconds for each; returns how many are finished, and when. */
function write(count: number, length: number, until: number, ms: (time: number) => number) {
  const texts = Array.from({ length: count }, () => ({ count: 4, tokens: new Int32Array(length) }))
  const limit = new WritingLimit(until)
  let active = count
  let time = 0
  while (texts[0].count < length) {
    time += ms(time) * active
    active = limit.remaining(texts, active, time)
    for (const text of texts.slice(0, active)) text.count++
  }
  return { finished: texts.filter((text) => text.count === length).length, active, time }
}

test('all are finished where there is time', () => {
  expect(write(64, 128, 9000, () => 1)).toMatchObject({ finished: 64, active: 64 })
})

test('as many as there is time for', () => {
  const { finished, time } = write(64, 128, 4000, () => 1)
  expect(finished).toBeGreaterThan(26)
  expect(finished).toBeLessThan(40)
  expect(time).toBeLessThan(1.05 * 4000)
})

test('a machine that becomes slow in between', () => {
  const { finished, time } = write(64, 128, 8200, (time) => (time < 4000 ? 1 : 3))
  expect(finished).toBeLessThan(50)
  expect(time).toBeLessThan(1.1 * 8200)
})

test('a few are finished however long it takes', () => {
  expect(write(64, 128, 1, () => 1)).toMatchObject({ finished: 8, active: 8 })
  expect(write(3, 128, 1, () => 1)).toMatchObject({ finished: 3 })
})
