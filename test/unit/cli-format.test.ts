/** What the command prints: sizes, tables, the progress line. */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { describeGeneration } from '../../src/cli/eval/tasks.js'
import type { CommandEvent } from '../../src/cli/terminal/events.js'
import { draw } from '../../src/cli/terminal/print.js'
import { type Output, Progress, progressText } from '../../src/cli/terminal/progress.js'
import { textOf, wrapped } from '../../src/cli/terminal/style.js'
import type { GenerationEvaluation } from '../../src/evaluate/index.js'
import {
  humanBytes,
  humanCount,
  plain,
  plusMinus,
  shortened,
  table,
  visible,
  visibleJson,
} from '../../src/format.js'

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

test('a table that is too wide is a list', () => {
  const rows = [
    ['file', 'size', 'KLD', ''],
    ['a-long-name', '5', '0.01', '± 0.002'],
    ['b', '1234', '', ''],
  ]
  const right = new Set([1, 2, 3])
  expect(table(rows, right, 32)).toEqual(table(rows, right))
  expect(table(rows, right, 31)).toEqual([
    'file',
    'a-long-name',
    '  size  5',
    '  KLD   0.01 ± 0.002',
    'b',
    '  size  1234',
  ])
})

test('long lines are cut at spaces and go on indented; a long word stays whole', () => {
  expect(wrapped('  one two three', 9)).toEqual(['  one two', '    three'])
  expect(wrapped(`x ${'y'.repeat(30)} z`, 20)).toEqual(['x', `  ${'y'.repeat(30)}`, '  z'])
  expect(wrapped('one two', undefined)).toEqual(['one two'])
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
  expect(printing).toEqual([join('cli', 'terminal', 'print.ts')])
})

test('the progress line', () => {
  const rate = (perSecond: number) => `${perSecond} tokens/s`
  expect(progressText('evaluating', 0, 100, 0, rate)).toBe('evaluating  0 %')
  expect(progressText('evaluating', 50, 1000, 10, rate)).toBe('evaluating  5 %  5 tokens/s  3:10 left')
  expect(progressText('evaluating', 1, 3663, 1, rate)).toBe('evaluating  0 %  1 tokens/s  1:01:02 left')
})

/** What a work of so many seconds, that tells of itself every second, shows, with the time of each. */
function shown(to: Output['to'], seconds: number): { at: number; line: string | CommandEvent }[] {
  const lines: { at: number; line: string | CommandEvent }[] = []
  let at = 0
  const take = (line: string | CommandEvent): void => {
    lines.push({ at: at / 1000, line })
  }
  const progress = new Progress({ to, now: () => at, draw: take, print: take, emit: take })
  const show = progress.line('  training', (rate) => `${rate} steps/s`)
  for (; at <= 1000 * seconds; at += 1000) show(at / 1000, seconds)
  progress.clear()
  return lines
}

test('without a terminal there is a line where a stage begins and every half a minute', () => {
  expect(shown('lines', 19)).toEqual([{ at: 0, line: 'training  0 %' }])
  const lines = shown('lines', 100)
  expect(lines.map(({ at }) => at)).toEqual([0, 30, 60, 90])
  expect(lines[1].line).toBe('training  30 %  1 steps/s  1:10 left')
  expect(shown('lines', 3600)).toHaveLength(120)
})

test('every stage has its line, however short it is', () => {
  const lines: string[] = []
  const take = (line: string) => lines.push(line)
  const progress = new Progress({ to: 'lines', now: () => 0, draw: take, print: take, emit: () => {} })
  for (const stage of ['quantizing', 'evaluating']) {
    const show = progress.line(stage, () => '')
    show(0, 2)
    show(1, 2)
    show(2, 2)
  }
  expect(lines).toEqual(['quantizing  0 %', 'evaluating  0 %'])
})

test('a stage that comes again begins anew', () => {
  let at = 0
  const lines: string[] = []
  const take = (line: string) => lines.push(line)
  const progress = new Progress({ to: 'lines', now: () => at, draw: take, print: take, emit: () => {} })
  const show = progress.line('validating', (rate) => `${rate} tokens/s`)
  for (const done of [0, 50, 100]) show(done, 100)
  at = 100_000
  for (const done of [0, 40, 100]) {
    show(done, 100)
    at += 40_000
  }
  expect(lines).toEqual(['validating  0 %', 'validating  0 %', 'validating  40 %  1 tokens/s  1:00 left'])
})

test('on a terminal the line is drawn again and removed at the end', () => {
  expect(shown('terminal', 3).map(({ line }) => line)).toEqual([
    '  training  0 %',
    '  training  33 %  1 steps/s  0:02 left',
    '  training  66 %  1 steps/s  0:01 left',
    '  training  100 %  1 steps/s  0:00 left',
    '',
  ])
})

test('events say where a stage begins, how far it is, and where it ends', () => {
  const stamp = { v: 1, time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/), stage: 'training' }
  expect(shown('events', 2).map(({ line }) => line)).toEqual([
    { ...stamp, event: 'stage' },
    { ...stamp, event: 'progress', done: 0, total: 2 },
    { ...stamp, event: 'progress', done: 1, total: 2, rate: 1, left: 1 },
    { ...stamp, event: 'progress', done: 2, total: 2, rate: 1, left: 0 },
    { ...stamp, event: 'done' },
  ])
  expect(shown('nothing', 100)).toEqual([])
})

test('a stage that did not come to its end is done where the next one begins', () => {
  const events: string[] = []
  const emit = ({ event, ...rest }: CommandEvent) =>
    events.push(`${event} ${'stage' in rest ? rest.stage : ''}`)
  const progress = new Progress({ to: 'events', now: () => 0, draw: () => {}, print: () => {}, emit })
  progress.line('a', () => '')(0, 5)
  progress.line('b', () => '')(1, 5)
  progress.end()
  expect(events).toEqual(['stage a', 'progress a', 'done a', 'stage b', 'progress b', 'done b'])
})

test('a work that begins late or goes on tells its own rate', () => {
  const lines: string[] = []
  let at = 0
  const progress = new Progress({
    to: 'terminal',
    now: () => at,
    draw: (line) => lines.push(line),
    print: () => {},
    emit: () => {},
  })
  const show = progress.line('training', (rate) => `${rate} steps/s`)
  at = 100_000
  show(50, 100)
  at = 110_000
  show(60, 100)
  expect(lines).toEqual(['training  50 %', 'training  60 %  1 steps/s  0:40 left'])
})

test('a standard error of one window alone is unknown', () => {
  expect(plusMinus(0.25, 1)).toBe('± 0.3')
  expect(plusMinus(Number.POSITIVE_INFINITY, 3)).toBe('± unknown')
})

test('a terminal that reports no columns shows the whole line', () => {
  const written: string[] = []
  const { columns } = process.stderr
  const write = vi.spyOn(process.stderr, 'write').mockImplementation((text) => written.push(String(text)) > 0)
  try {
    process.stderr.columns = 0
    draw('training  40 %')
    process.stderr.columns = 9
    draw('training  40 %')
  } finally {
    process.stderr.columns = columns
    write.mockRestore()
  }
  expect(written).toEqual(['\r\x1b[Ktraining  40 %', '\r\x1b[Ktraining'])
})

test('a single continued prompt has no error, and is one prompt', () => {
  const file = {
    path: 'a.gguf',
    kvType: 'f16',
    identical: { mean: 0, interval: [0, 0.8] as const },
    agreed: { mean: 3, se: Number.POSITIVE_INFINITY, median: 3 },
  }
  const evaluation = {
    prompts: ['x'],
    tokens: 1,
    reference: { path: 'm.gguf', kvType: 'f16' },
    files: [file],
  }
  const lines = describeGeneration(evaluation as unknown as GenerationEvaluation).map(textOf)
  expect(lines[0]).toMatch(/^1 prompt continued greedily by up to 1 token;/)
  expect(lines.join()).not.toContain('unknown')
})
