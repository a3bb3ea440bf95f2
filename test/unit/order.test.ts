/** The order of windows depends on seed and position alone, and every epoch has all of them. */
import { expect, test } from 'vitest'
import { digest, WindowOrder } from '../../src/data/order.js'

const windows = Array.from({ length: 7 }, (_, i) => Int32Array.of(i, i + 1))

test('an epoch is a shuffle of all windows, and another one each time', () => {
  const order = new WindowOrder(windows, 3)
  const first = order.take(0, 7).map((w) => w[0])
  const second = order.take(7, 7).map((w) => w[0])
  expect(first.toSorted()).toEqual([0, 1, 2, 3, 4, 5, 6])
  expect(second.toSorted()).toEqual([0, 1, 2, 3, 4, 5, 6])
  expect(second).not.toEqual(first)
})

test('starting in the middle gives what comes there anyway, across epochs', () => {
  const whole = new WindowOrder(windows, 3).take(0, 20)
  expect(new WindowOrder(windows, 3).take(5, 10)).toEqual(whole.slice(5, 15))
  expect(new WindowOrder(windows, 4).take(0, 20)).not.toEqual(whole)
})

test('a digest tells windows apart', () => {
  expect(digest(windows)).toBe(digest(windows.map((w) => w.slice())))
  expect(digest(windows)).not.toBe(digest(windows.slice(1)))
  expect(digest([Int32Array.of(1, 2, 3).subarray(1)])).toBe(digest([Int32Array.of(2, 3)]))
})
