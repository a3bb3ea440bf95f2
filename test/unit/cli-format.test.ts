/** What the command prints: sizes, tables, the progress line. */
import { expect, test } from 'vitest'
import { progressText } from '../../src/cli/progress.js'
import { humanBytes, humanCount, plain, table } from '../../src/format.js'

test('sizes and counts have three digits', () => {
  expect([0, 999, 1000, 12_345, 999_499, 999_500, 7_241_000_000].map(humanBytes)).toEqual([
    '0 B',
    '999 B',
    '1.00 kB',
    '12.3 kB',
    '999 kB',
    '1.00 MB',
    '7.24 GB',
  ])
  expect([12, 292_800, 1_235_814_400].map(humanCount)).toEqual(['12', '293k', '1.24G'])
})

test('columns are aligned', () => {
  const rows = [
    ['file', 'size'],
    ['a-long-name', '5'],
    ['b', '1234'],
  ]
  expect(table(rows, new Set([1]))).toBe('file         size\na-long-name     5\nb            1234\n')
})

test('text of a file cannot move the cursor', () => {
  expect(plain('a\x1b[2Jb\nc')).toBe('a?[2Jb?c')
  expect(plain('x'.repeat(100))).toHaveLength(80)
})

test('the progress line', () => {
  const rate = (perSecond: number) => `${perSecond} tokens/s`
  expect(progressText('evaluating', 0, 100, 0, rate)).toBe('evaluating  0 %')
  expect(progressText('evaluating', 50, 1000, 10, rate)).toBe('evaluating  5 %  5 tokens/s  3:10 left')
  expect(progressText('evaluating', 1, 3663, 1, rate)).toBe('evaluating  0 %  1 tokens/s  1:01:02 left')
})
