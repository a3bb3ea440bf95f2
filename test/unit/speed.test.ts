import { expect, test } from 'vitest'
import { benchCsv, benchMarkdown, benchText } from '../../src/report/bench.js'
import { markdownTable } from '../../src/report/markdown.js'
import { type Bench, speedTests, summarizeRounds } from '../../src/speed/bench.js'
import { spreadOf } from '../../src/speed/spread.js'

test('the middle of repeated measurements, and how far they lie apart', () => {
  expect(spreadOf([3])).toEqual({ median: 3, low: 3, high: 3, samples: [3] })
  expect(spreadOf([9, 1, 2])).toEqual({ median: 2, low: 1, high: 9, samples: [9, 1, 2] })
  expect(spreadOf([4, 1, 2, 9]).median).toBe(3)
})

test('every length at every depth', () => {
  expect(speedTests({ prompt: [16, 32], generate: [8], depth: [0, 100] })).toEqual([
    { kind: 'prompt', tokens: 16, depth: 0 },
    { kind: 'prompt', tokens: 32, depth: 0 },
    { kind: 'prompt', tokens: 16, depth: 100 },
    { kind: 'prompt', tokens: 32, depth: 100 },
    { kind: 'generate', tokens: 8, depth: 0 },
    { kind: 'generate', tokens: 8, depth: 100 },
  ])
  expect(() => speedTests({ prompt: [0], generate: [0] })).toThrow(/nothing to run/)
})

const memory = {
  contextTokens: 16,
  weightsBytes: 4e6,
  kvBytes: 1e6,
  computeBytes: 2e6,
  outputBytes: 1e3,
  residentBytes: 6e6,
}
const round = (loadMs: number, ...tokensPerSecond: number[]) => ({ loadMs, tokensPerSecond, memory })
const tests = speedTests({ prompt: [16], generate: [8], depth: [0] })
const facts = { type: 'Q4_0', bytes: 5e8, bitsPerWeight: 4.5, threads: 2 }

/** Two turns; in the second the machine is half as fast, which hurts both files alike. */
const first = [round(10, 1000, 100), round(20, 500, 50)]
const second = [round(5, 1500, 120), round(10, 750, 60)]
const bench: Bench = {
  machine: {
    cpu: 'Some | CPU',
    cores: 2,
    memoryBytes: 8e9,
    platform: 'linux-x64',
    llama: '3.22.1',
    llamaVersion: '0.5.0, commit 0ad4a86',
  },
  settings: { repetitions: 2, threads: null, kvType: 'f16', gpuLayers: 0 },
  files: [
    summarizeRounds({ path: '/models/a.gguf', ...facts }, tests, first, first),
    summarizeRounds({ path: '=cmd("x"),<b>|.gguf', ...facts }, tests, second, first),
  ],
}

test('ratios are taken within a turn', () => {
  expect(bench.files[0].tests[1]).toMatchObject({
    tokensPerSecond: { median: 75, low: 50, high: 100 },
    relative: { median: 1, low: 1, high: 1 },
  })
  const [prompt, generate] = bench.files[1].tests
  expect(prompt.relative).toMatchObject({ median: 1.5, low: 1.5, high: 1.5 })
  expect(generate.relative.median).toBeCloseTo(1.2)
  expect(bench.files[1].tokensPerSecondPerGigabyte).toBeCloseTo(90 / 0.5)
})

test('a table, Markdown and CSV; names from strangers stay text', () => {
  const lines = benchText(bench)
  expect(lines[0]).toMatch(/^file +size +load ms +pp16 +x +tg8 +x +tokens\/s per GB$/)
  expect(lines[1]).toMatch(/^a +500 MB +15\.0 +750 +500 - 1000 +75\.0 +50\.0 - 100 +150$/)
  const notes = lines.join('\n')
  expect(notes).toContain('median of the rounds')
  expect(notes).toContain('median of 2 rounds')
  expect(notes).toContain('2 threads, chosen by the size of the model, cache f16')
  expect(notes).toContain('llama.cpp 0.5.0, commit 0ad4a86 (npm packages 3.22.1)')
  expect(notes).not.toContain('x 1.')
  expect(notes).toContain('tokens/s per GB: generation speed at the smallest depth, divided by the file size')
  expect(notes).toMatch(/weights: as llama\.cpp holds them, with copies .* may exceed the file size/)
  const markdown = benchMarkdown(bench).join('\n')
  expect(markdown).toContain(
    '| a | 500 MB | 4.50 | 15.0 | 750 (500 - 1000) | 75.0 (50.0 - 100) | 150 | 7.00 MB |',
  )
  expect(markdown).toContain('&lt;b&gt;\\|')
  const csv = benchCsv(bench)
  expect(csv).toHaveLength(5)
  expect(csv[1]).toMatch(/^\/models\/a\.gguf,Q4_0,500000000,4\.5,15,/)
  expect(csv[3].startsWith(`"'=cmd(""x""),<b>|.gguf",Q4_0,`)).toBe(true)
  expect(csv[0].split(',')).toHaveLength(csv[1].split(',').length)
})

test('Markdown keeps a table a table', () => {
  expect(markdownTable(['a|b', 'c'], [['x\ny', '<script>']])).toEqual([
    '| a\\|b | c |',
    '|---|---:|',
    '| x\\\\ny | &lt;script&gt; |',
  ])
})
