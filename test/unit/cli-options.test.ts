/** Values of options as they are typed. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  bytes,
  cachePair,
  fileType,
  kvType,
  seconds,
  secondsFromZero,
  typeList,
} from '../../src/cli/options.js'

describe('sizes', () => {
  test.each([
    ['8GB', 8e9],
    ['8gb', 8e9],
    ['8 GB', 8e9],
    ['8G', 8e9],
    ['8GiB', 8 * 2 ** 30],
    ['8gi', 8 * 2 ** 30],
    ['512MB', 512e6],
    ['1.5TB', 1.5e12],
    ['64k', 64_000],
    ['64KiB', 65_536],
    ['123456', 123_456],
    ['123456B', 123_456],
    ['8000000000', 8e9],
    ['1.5tb', 1.5e12],
    ['512MiB', 512 * 2 ** 20],
    ['512mib', 512 * 2 ** 20],
    ['2TiB', 2 * 2 ** 40],
  ])('%s', (text, value) => expect(bytes(text)).toBe(value))

  test.each([
    '',
    '0',
    '0GB',
    '-1GB',
    '8 G B',
    'GB',
    '8iB',
    '8XB',
    '1e9',
    '8GBs',
    '.5GB',
    'NaN',
    '9999999999TB',
    `${'9'.repeat(400)}GB`,
  ])('%j is none', (text) => expect(() => bytes(text)).toThrow('such as 8GB'))

  test('a small number without a unit, which nobody means', () =>
    expect(() => bytes('6')).toThrow('A number alone is bytes; give a unit, as in 6GB.'))

  test('units are what they say', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1000 }), fc.constantFrom('k', 'M', 'G', 'T'), (n, unit) => {
        const power = 1 + 'kMGT'.indexOf(unit)
        expect(bytes(`${n}${unit}B`)).toBe(n * 1000 ** power)
        expect(bytes(`${n}${unit}iB`)).toBe(n * 1024 ** power)
      }),
      { seed: 1 },
    )
  })
})

describe('times', () => {
  test.each(['90', '2', '0.5', ' 3'])('%j needs a unit', (text) => {
    const message = `seconds or minutes; give a unit, as in ${text.trim()}s or ${text.trim()}m.`
    for (const parse of [seconds, secondsFromZero]) expect(() => parse(text)).toThrow(message)
  })

  test.each([
    ['90s', 90],
    ['10m', 600],
    ['1.5h', 5400],
    ['1h30m', 5400],
    ['1h 30m', 5400],
    ['1h30m15s', 5415],
    ['2m30', 150],
    ['2H', 7200],
    ['2h', 7200],
    ['10M', 600],
    ['0.5s', 0.5],
  ])('%s', (text, value) => expect(seconds(text)).toBe(value))

  test.each([
    '',
    '0',
    '0h',
    '1d',
    'm',
    '30m1h',
    '-5m',
    '1h-5m',
    '5 minutes',
    '1e3',
    'h30m',
    `${'9'.repeat(400)}h`,
  ])('%j is none', (text) => expect(() => seconds(text)).toThrow('such as 90s'))
})

test('a time between may be none', () => {
  expect(['0', '0s', '90s', '10m'].map(secondsFromZero)).toEqual([0, 0, 90, 600])
  for (const text of ['', '-1', 'x']) expect(() => secondsFromZero(text)).toThrow('0 or a time such as 90s')
})

test('file types have names in any case, aliases of llama-quantize, and its numbers', () => {
  const types = ['q4_0', 'Q4_K', 'q5_k', 'Q3_K', 'q4_k_m', 'bf16', '15', 'iq4_xs', 'Q2_K', 'nonsense']
  expect(types.map(fileType)).toEqual([
    ...['Q4_0', 'Q4_K_M', 'Q5_K_M', 'Q3_K_M', 'Q4_K_M', 'BF16', 'Q4_K_M', 'IQ4_XS', 'Q2_K', 'NONSENSE'],
  ])
  expect(typeList('q4_k, Q8_0,')).toEqual(['Q4_K_M', 'Q8_0'])
  expect(typeList('None')).toEqual([])
})

test('types of a cache are one for both, or two', () => {
  expect(['q8_0', 'Q8_0/F16', 'f16/q4_0', 'q8_0/q8_0'].map(kvType)).toEqual([
    ...['q8_0', 'q8_0/f16', 'f16/q4_0', 'q8_0'],
  ])
  for (const text of ['q9', 'q8_0/', 'f16/f16/f16', '']) expect(() => kvType(text)).toThrow()
  expect(cachePair('q8_0', undefined)).toBe('q8_0/f16')
  expect(cachePair(undefined, 'f16')).toBe('f16')
  expect(cachePair(undefined, undefined)).toBeUndefined()
})
