/** Values of options as they are typed. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { bytes, seconds } from '../../src/cli/options.js'

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
  ])('%s', (text, value) => expect(bytes(text)).toBe(value))

  test.each(['', '0', '0GB', '-1GB', '8 G B', 'GB', '8iB', '8XB', '1e9', '8GBs', '.5GB', 'NaN'])(
    '%j is none',
    (text) => expect(() => bytes(text)).toThrow('such as 8GB'),
  )

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
  test.each([
    ['90', 90],
    ['90s', 90],
    ['10m', 600],
    ['1.5h', 5400],
    ['1h30m', 5400],
    ['1h 30m', 5400],
    ['1h30m15s', 5415],
    ['2m30', 150],
    ['2H', 7200],
  ])('%s', (text, value) => expect(seconds(text)).toBe(value))

  test.each(['', '0', '0h', '1d', 'm', '30m1h', '-5m', '1h-5m', '5 minutes', '1e3', 'h30m'])(
    '%j is none',
    (text) => expect(() => seconds(text)).toThrow('such as 90s'),
  )
})
