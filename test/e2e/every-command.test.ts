/** What every command of the program prints: no colour where none is wanted, lines of 40 columns, and one JSON document of `--json`. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { WriteStream } from 'node:tty'
import { stripVTControlCharacters } from 'node:util'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import type { CatalogueUpdate } from '../../src/advise/catalogue/update.js'
import { createProgram } from '../../src/cli/program/program.js'
import { translated } from '../../src/cli/spellings.js'
import type { DemoReport } from '../../src/compare/demo.js'
import { writeCheckpoint } from '../support/checkpoints.js'
import { commands } from '../support/command-line.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'
import { byteLevelBpe } from '../support/tokenizer-files.js'
import { wordText } from '../support/word-text.js'

const little = '-d text.txt -c 32 --tokens 64'

/** What is typed after each command, in this order. `styled`: it has headings, or a word that it shows green. */
const lines: Record<string, { line: string; styled: boolean }> = {
  inspect: { line: 'm.gguf --tensors', styled: true },
  convert: { line: 'checkpoint -o c.gguf', styled: false },
  quantize: { line: 'm.gguf q.gguf Q4_0', styled: false },
  imatrix: { line: `m.gguf ${little} -o i.gguf`, styled: false },
  train: {
    line: 'm.gguf -t Q4_0 -d text.txt -c 32 --batch 64 --tokens 256 --steps 1 --calibration 0 --validation 32 -o t.gguf',
    styled: true,
  },
  eval: { line: `q.gguf -r m.gguf ${little}`, styled: true },
  bench: { line: 'q.gguf -p 8 -n 2 -r 1', styled: true },
  compare: {
    line: `m.gguf q.gguf ${little} --types none -r 1 -p 8 -n 2 --folder made --store s.db`,
    styled: true,
  },
  demo: { line: '', styled: true },
  pull: { line: 'm.gguf', styled: false },
  push: { line: 'm.gguf --repo org/name', styled: false },
  'add-to': { line: 'ollama m.gguf', styled: false },
  advise: { line: 'm.gguf q.gguf --ram 16GB --vram 8GB', styled: true },
  catalogue: { line: '', styled: true },
  'catalogue update': { line: 'gemma-3-12b', styled: true },
  measurements: { line: '--store s.db', styled: false },
  'measurements export': { line: '--store s.db -o x.jsonl', styled: false },
  'measurements import': { line: 'x.jsonl --store s.db', styled: false },
  cache: { line: '', styled: false },
  doctor: { line: '', styled: true },
  'cache list': { line: '', styled: false },
  'cache clear': { line: '', styled: false },
  complete: { line: 'bash', styled: false },
}

/** The work of the demo takes minutes; what it prints is made of its report. */
vi.mock('../../src/compare/demo.js', () => ({ demo: async () => demoReport() }))

/** No test asks the real Hub. */
vi.mock('../../src/advise/catalogue/update.js', () => ({ updateCatalogue: async () => catalogueUpdate }))

const catalogueUpdate: CatalogueUpdate = {
  refreshed: 1,
  changed: [{ id: 'gemma-3-12b', changes: [{ field: 'context', before: 8192, now: 131_072 }] }],
  ...{ failures: [], made: '2026-11-27', path: 'catalogue.json' },
}

function demoReport(): DemoReport {
  const estimate = { mean: 0.123456, se: 0.0123 }
  const reference = {
    ...{ path: 'models/quench-5m-f16.gguf', type: 'F16', bytes: 10_400_000, bitsPerWeight: 16 },
    ...{ perplexity: { mean: 20.5, se: 0.4 }, bitsPerByte: estimate },
  }
  const file = { ...reference, kvType: 'f16', kld: estimate, top1: estimate, kldMedian: 0.1, kldMax: 1 }
  const recovered = { recovered: estimate, recoveredOfBest: { ...estimate, opponent: 'Q4_0 imatrix' } }
  const trained = {
    name: 'Q4_0 QAT',
    method: 'qat',
    effectiveBits: { value: 5.5, bound: 'atLeast' },
  } as const
  const kinds = ['prose', 'code'].map((kind) => ({ kind, recovered: estimate }))
  return {
    reference,
    files: [
      { ...file, name: 'Q4_0', method: 'ptq' },
      { ...file, ...recovered, ...trained },
    ],
    training: [{ type: 'Q4_0', kinds, recovered: 0.5 }],
    ...{ text: 'models/quench-5m.test.txt', tokens: 8192, seconds: 300, peakBytes: 1e9 },
  } as unknown as DemoReport
}

let folder: string
const before = process.cwd()
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-'))
  process.env.QUENCH_CACHE = join(folder, 'cache')
  process.chdir(folder)
  await writeTinyGguf('m.gguf')
  await writeFile('text.txt', wordText(400))
  const words = (await readFile(join(before, 'models/quench-5m.test.txt'), 'utf8')).slice(0, 20_000)
  writeCheckpoint('checkpoint', { family: 'llama', tokenizer: byteLevelBpe(words, 'llama-bpe') })
})
afterAll(async () => {
  process.chdir(before)
  await rm(folder, { recursive: true })
})

const { stdout } = process
const real = { isTTY: stdout.isTTY, columns: stdout.columns, getColorDepth: stdout.getColorDepth }
afterEach(() => {
  vi.unstubAllEnvs()
  Object.assign(stdout, real)
  process.exitCode = 0
})

/** Standard output of a command, which works. */
async function outputOf(path: string, more: readonly string[], env: Record<string, string>): Promise<string> {
  // Node knows of CI that few of its terminals have colours.
  for (const name of ['COLUMNS', 'FORCE_COLOR', 'NO_COLOR', 'CI']) vi.stubEnv(name, env[name])
  const typed = [path, lines[path].line, ...more].join(' ').split(' ').filter(Boolean)
  let output = ''
  const out = vi.spyOn(stdout, 'write').mockImplementation((text) => {
    output += text
    return true
  })
  const log = vi.spyOn(console, 'log').mockImplementation((text) => {
    output += `${text}\n`
  })
  const err = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
  try {
    await createProgram().parseAsync(translated(typed), { from: 'user' })
  } finally {
    out.mockRestore()
    log.mockRestore()
    err.mockRestore()
  }
  return output
}

/** As if standard output were a terminal of 80 columns. */
function onTerminal(): void {
  vi.stubEnv('TERM', 'xterm-256color')
  Object.assign(stdout, { isTTY: true, columns: 80, getColorDepth: WriteStream.prototype.getColorDepth })
}

/** How a colour begins. */
const colour = '\x1b['

test('the table has every command', () => {
  expect(Object.keys(lines).sort()).toEqual(commands.map((path) => path.join(' ')).sort())
})

describe.each(Object.keys(lines))('%s', (path) => {
  test('COLUMNS=40 and FORCE_COLOR: no line is longer, but for a word', async () => {
    const output = await outputOf(path, [], { COLUMNS: '40', FORCE_COLOR: '1' })
    if (lines[path].styled) expect(output).toContain(colour)
    expect(output).toMatch(/\n$/)
    if (path === 'complete') return // a script
    const plain = stripVTControlCharacters(output).split('\n')
    expect(plain.filter((line) => line.length > 40 && /\S\s/.test(line.trim()))).toEqual([])
  })

  test('a terminal: NO_COLOR, and colour without', async () => {
    onTerminal()
    expect(await outputOf(path, [], { NO_COLOR: '1' })).not.toContain(colour)
    if (lines[path].styled && path !== 'train') expect(await outputOf(path, [], {})).toContain(colour)
  })
})

// What `complete` prints is a script.
describe.each(Object.keys(lines).filter((path) => path !== 'complete'))('%s', (path) => {
  test('--json: one document without colour', async () => {
    const output = await outputOf(path, ['--json'], { FORCE_COLOR: '1' })
    expect(output).not.toContain(colour)
    expect(JSON.parse(output)).toBeTypeOf('object')
  })
})
