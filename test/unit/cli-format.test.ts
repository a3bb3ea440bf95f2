/** What the command prints: sizes, tables, the progress line. */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { progressText } from '../../src/cli/progress.js'
import { humanBytes, humanCount, plain, shortened, table, visible, visibleJson } from '../../src/format.js'

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
  expect(table(rows, new Set([1]))).toEqual(['file         size', 'a-long-name     5', 'b            1234'])
  expect(
    table(
      [
        ['a\nb', 'c'],
        ['x', 'y'],
      ],
      new Set(),
    ),
  ).toEqual(['a\\nb  c', 'x     y'])
  expect(
    table(
      Array.from({ length: 300_000 }, () => ['x']),
      new Set(),
    ),
  ).toHaveLength(300_000)
})

test('text of a file cannot move the cursor', () => {
  expect(plain('a\x1b[2Jb\nc')).toBe('a\\x1b[2Jb\\nc')
  expect(plain('x'.repeat(100))).toBe(`${'x'.repeat(77)}...`)
  expect(plain('\u{1f600}'.repeat(100), 10)).toBe(`${'\u{1f600}'.repeat(3)}...`)
})

test('what cannot be seen is written as its escape, once', () => {
  const shown = '\\x00\\t\\n\\r\\x1b\\x7f\\x85\\x9b\\u200f\\u2028\\u202e\\u2066\\ufeff\\ud800\\u{e0041}'
  expect(visible('\0\t\n\r\x1b\x7f\x85\x9b\u200f\u2028\u202e\u2066\ufeff\ud800\u{e0041}')).toBe(shown)
  expect(visible(shown)).toBe(shown)
  const words =
    'na\u00efve \u65e5\u672c\u8a9e \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 \u{1f469}\u200d\u{1f33e} C:\\new'
  expect(visible(words)).toBe(words)
})

test('JSON says the same with every character visible', () => {
  const value = { '\x7f\x9b\u202e': ['\u2028\n\x1b\ud800 \u{e0041}'], n: 1 }
  const text = visibleJson(value)
  expect(JSON.parse(text)).toEqual(value)
  expect(text).toMatch(/^[\n -~]*$/)
})

test('a long message loses its middle', () => {
  expect(shortened('short', 80)).toBe('short')
  expect(shortened(`a${'x'.repeat(100)}z`, 21)).toBe(`a${'x'.repeat(7)} ... ${'x'.repeat(7)}z`)
})

test('nothing is printed but by print.ts', async () => {
  const sources = await readdir('src', { recursive: true })
  const printing: string[] = []
  for (const source of sources.filter((name) => name.endsWith('.ts')))
    if (
      /console\.|process\.(stdout|stderr)\.write|writeSync\([12],/.test(
        await readFile(join('src', source), 'utf8'),
      )
    )
      printing.push(source)
  expect(printing).toEqual([join('cli', 'print.ts')])
})

test('the progress line', () => {
  const rate = (perSecond: number) => `${perSecond} tokens/s`
  expect(progressText('evaluating', 0, 100, 0, rate)).toBe('evaluating  0 %')
  expect(progressText('evaluating', 50, 1000, 10, rate)).toBe('evaluating  5 %  5 tokens/s  3:10 left')
  expect(progressText('evaluating', 1, 3663, 1, rate)).toBe('evaluating  0 %  1 tokens/s  1:01:02 left')
})
