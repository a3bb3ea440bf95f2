/** Help of every command: examples that parse, options that mean the same everywhere, groups, and no line too long. */
import { afterEach, describe, expect, test } from 'vitest'
import { loaders, programFor } from '../../src/cli/program/one-command.js'
import { createProgram } from '../../src/cli/program/program.js'
import { spellings, translated } from '../../src/cli/spellings.js'
import { commands, parse, wordsOf } from '../support/command-line.js'

const columns = process.env.COLUMNS
afterEach(() => {
  if (columns === undefined) delete process.env.COLUMNS
  else process.env.COLUMNS = columns
})

/** `quench ...args --help` as it is printed, at a width. */
async function helpOf(args: readonly string[], width = 200): Promise<string> {
  process.env.COLUMNS = String(width)
  let help = ''
  const write = process.stdout.write
  process.stdout.write = ((text: string) => {
    help += text
    return true
  }) as typeof write
  try {
    await createProgram().parseAsync([...args, '--help'], { from: 'user' })
  } catch (error) {
    expect(error).toMatchObject({ code: 'commander.helpDisplayed', exitCode: 0 })
  } finally {
    process.stdout.write = write
  }
  return help
}

/** What stands under "Example:", one command each. */
function examplesOf(help: string): string[] {
  const [, block = ''] = /\nExamples?:\n([\s\S]*)$/.exec(help) ?? []
  return block
    .replace(/ \\\n */g, ' ')
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
}

test('there are all commands', () => {
  expect(commands.map((path) => path.join(' '))).toEqual([
    ...[
      'inspect',
      'convert',
      'quantize',
      'imatrix',
      'train',
      'eval',
      'bench',
      'compare',
      'demo',
      'pull',
      'push',
      'add-to',
      'advise',
      'catalogue',
      'catalogue update',
    ],
    ...['cache', 'cache list', 'cache clear', 'measurements', 'measurements export', 'measurements import'],
    ...['doctor', 'complete'],
  ])
})

describe.each([[], ...commands].map((path) => [['quench', ...path].join(' '), path] as const))(
  '%s',
  (_, path) => {
    test('has examples that parse, however narrow the terminal is', async () => {
      const examples = examplesOf(await helpOf(path))
      expect(examples.length).toBeGreaterThan(0)
      expect(examplesOf(await helpOf(path, 40))).toEqual(examples)
      for (const example of examples) {
        const [program, ...args] = wordsOf(example)
        expect(program).toBe('quench')
        const { name } = await parse(args)
        if (path.length > 0) expect([path.at(-1), 'clear']).toContain(name)
      }
    })

    test('fits into 40 columns', async () => {
      const lines = (await helpOf(path, 40)).split('\n')
      expect(lines.filter((line) => line.length > 40 && /\S\s+\S/.test(line.trim()))).toEqual([])
    })

    test('shows no arrays', async () => {
      expect(await helpOf(path)).not.toMatch(/default: \[/)
    })
  },
)

test('help of train has groups with titles, and nothing is left over', async () => {
  const help = await helpOf(['train'])
  const titles = [...help.matchAll(/^(\S.*):$/gm)].map(([, title]) => title)
  expect(titles).toEqual([
    ...['Arguments', 'Input and output', 'Training text', 'Types of tensors', 'Time and memory'],
    ...['Method and rates', 'Interrupting and resuming', 'Running and output', 'Options', 'Examples'],
  ])
  expect(help.slice(help.indexOf('\nOptions:'))).toMatch(/^\nOptions:\n {2}-h, --help .*\n\n/)
})

test('help ends with the environment', async () => {
  const help = await helpOf([])
  for (const name of ['QUENCH_THREADS', 'QUENCH_CACHE', 'QUENCH_LLAMA_PACKAGE', 'QUENCH_DEBUG', 'NO_COLOR'])
    expect(help).toMatch(new RegExp(`^ {2}${name} `, 'm'))
})

test('an option has one letter, and a letter one option, in all commands', () => {
  const names = new Map<string, Set<string>>()
  const add = (name: string, other: string) => names.set(name, (names.get(name) ?? new Set()).add(other))
  for (const command of createProgram().commands)
    for (const { short, long } of command.options) {
      add(long ?? '', short ?? 'none')
      if (short) add(short, long ?? 'none')
    }
  expect([...names].filter(([, others]) => others.size > 1)).toEqual([])
})

/** They take long, and no number of threads is theirs to choose. */
const unthreaded = ['inspect', 'pull', 'push', 'add-to', 'convert', 'advise']

test('every command that computes takes --threads and --progress, and every one but complete --json', () => {
  for (const command of createProgram().commands) {
    const own = command.options.map(({ long }) => long)
    const computes = !['cache', 'catalogue', 'measurements', 'doctor', 'complete'].includes(command.name())
    const threads = computes && !unthreaded.includes(command.name())
    expect([command.name(), own.includes('--threads'), own.includes('--progress')]).toEqual([
      command.name(),
      threads,
      computes,
    ])
    expect([command.name(), own.includes('--json')]).toEqual([command.name(), command.name() !== 'complete'])
  }
})

describe("llama.cpp's spellings", () => {
  test.each([
    [
      'bench m -ngl 99 -ctk q8_0 -ctv f16 -t 3',
      { gpuLayers: 99, cacheTypeK: 'q8_0', cacheTypeV: 'f16', threads: 3 },
    ],
    [
      'bench m --n-gpu-layers all --n-prompt 5 --n-gen 6,7 --n-depth 8',
      { gpuLayers: -1, prompt: [5], generate: [6, 7], depth: [8] },
    ],
    ['bench m -ngl -1', { gpuLayers: -1 }],
    ['eval q -r m -d t --ctx-size 64', { reference: 'm', context: 64 }],
    ['eval q --reference m -d t --ctx-size=64', { context: 64 }],
    [
      'compare m -d t -ngl 1 -ctk q4_0 --ctx-size 32 --types q4_k,q8_0',
      { gpuLayers: 1, types: ['Q4_K_M', 'Q8_0'] },
    ],
    ['train m --type q4_k -t 2 --ctx-size 64', { type: 'Q4_K_M', threads: 2, context: 64 }],
    [
      'eval q -r m --generate 5 --generate-tokens 6 -d t',
      { reference: 'm', continue: '5', continueTokens: 6 },
    ],
    ['train m -t q4_0', { type: 'Q4_0' }],
    ['quantize m -t Q5_K -o x -t 4', { type: 'Q5_K_M', output: 'x', threads: 4 }],
    ['demo -t 1', { threads: 1 }],
    ['eval q -r m -d t --chunks 4', { tokens: 2048 }],
    ['eval q -r m -d t --chunks=4 -c 64', { tokens: 256, context: 64 }],
    ['imatrix m -f t --ctx-size=128 --chunks 3', { tokens: 384 }],
  ])('%s', async (line, options) => {
    expect((await parse(line.split(' '))).options).toMatchObject(options)
  })

  test('mean an option that exists', () => {
    const all = new Set(createProgram().commands.flatMap(({ options }) => options.map(({ long }) => long)))
    for (const { option } of spellings) expect(all).toContain(option)
  })

  test('what follows -- is left alone', () => {
    expect(translated(['inspect', '--', '-ngl'])).toEqual(['inspect', '--', '-ngl'])
    expect(translated(['eval', '-ngl', '1', '--', '-r'])).toEqual(['eval', '--gpu-layers', '1', '--', '-r'])
    expect(translated(['bench', '-r', '3'])).toEqual(['bench', '-r', '3'])
  })
})

test('a command that is loaded alone is the one that all commands have', async () => {
  const all = createProgram().commands
  expect(all.map((command) => command.name()).filter((name) => name !== 'complete')).toEqual(
    Object.keys(loaders),
  )
  for (const command of all) {
    const alone = await programFor(command.name())
    const same = alone.commands.find((other) => other.name() === command.name())
    expect(same?.helpInformation()).toBe(command.helpInformation())
    if (command.name() !== 'complete') expect(alone.commands).toHaveLength(1)
  }
  for (const name of [undefined, '--help', 'help', 'quantise', 'toString'])
    expect((await programFor(name)).commands).toHaveLength(all.length)
})
