import { expect, test } from 'vitest'
import { Random } from '../../src/random.js'

test('sfc32 as published: the first outputs of a known state', () => {
  // Reference in BigInt, straight from the definition, from the same seeding.
  const mask = 0xffffffffn
  let [a, b, c, counter] = [123n, 0n, 4n, 1n]
  const next = (): number => {
    const sum = (a + b + counter++) & mask
    a = b ^ (b >> 9n)
    b = (c + (c << 3n)) & mask
    c = ((((c << 21n) & mask) | (c >> 11n)) + sum) & mask
    return Number(sum)
  }
  for (let i = 0; i < 15; i++) next()
  const random = new Random(123, 4)
  for (let i = 0; i < 1000; i++) expect(random.bits()).toBe(next())
})

test('seeds and streams differ, and repeat', () => {
  const start = (seed: number, stream?: number): number => new Random(seed, stream).uniform()
  expect(start(1)).toBe(start(1))
  const starts = [start(0), start(1), start(-1), start(1, 1), start(1, 2), start(2 ** 40), start(2 ** 40 + 1)]
  expect(new Set(starts).size).toBe(starts.length)
})

test('uniform, int and normal have their moments', () => {
  const random = new Random(9)
  const count = 100_000
  const mean = (draw: () => number): number =>
    Array.from({ length: count }, draw).reduce((a, b) => a + b) / count
  expect(mean(() => random.uniform())).toBeCloseTo(0.5, 2)
  expect(mean(() => random.int(7))).toBeCloseTo(3, 1)
  expect(mean(() => random.normal())).toBeCloseTo(0, 1)
  expect(mean(() => random.normal() ** 2)).toBeCloseTo(1, 1)
  expect(mean(() => random.normal() ** 4)).toBeCloseTo(3, 0)
  expect(new Set(Array.from({ length: 200 }, () => random.int(5)))).toEqual(new Set([0, 1, 2, 3, 4]))
  for (const n of [0, -1, 1.5, 2 ** 33]) expect(() => random.int(n)).toThrow(RangeError)
})

test('shuffle keeps what it shuffles', () => {
  const array = new Random(1).shuffle(Int32Array.from({ length: 100 }, (_, i) => i))
  expect([...array]).not.toEqual([...array].sort((a, b) => a - b))
  expect(new Set(array).size).toBe(100)
})
