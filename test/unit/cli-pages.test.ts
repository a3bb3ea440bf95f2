/** The pages, the help and the parser say the same: every command line of a page is typed, and every option of every command. */
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Option } from 'commander'
import { describe, expect, test } from 'vitest'
import { optionsPage } from '../../scripts/options-page.js'
import { alsoCalled, translated } from '../../src/cli/spellings.js'
import { commandOf, commands, parse, requiredBy, wordsOf } from '../support/command-line.js'

const read = (path: string): string =>
  readFileSync(fileURLToPath(new URL(`../../${path}`, import.meta.url)), 'utf8')
const pages = [
  ...['README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md', 'SECURITY.md'],
  ...readdirSync(fileURLToPath(new URL('../../docs', import.meta.url)))
    .filter((name) => name.endsWith('.md') && name !== 'options.md')
    .map((name) => `docs/${name}`),
]

/** Options that other programs have, which pages name. */
const ofOthers = new Set([
  '--ignore-scripts',
  '--memory-swap',
  '-m',
  '--model',
  '--file',
  '--chunks',
  '--hellaswag',
])

/** Lines of the blocks of a page, and code in its sentences, that begin with the program and a word. */
function typed(page: string): { line: string; sentence: boolean }[] {
  const text = read(page)
  const blocks = Array.from(text.matchAll(/^```sh\n([\s\S]*?)^```/gm), ([, block]) => block)
  const lines = blocks.flatMap((block) => block.replace(/ \\\n */g, ' ').split(/\n|&&/))
  const spans = Array.from(text.replace(/^```[\s\S]*?^```/gm, '').matchAll(/`([^`]+)`/g), ([, span]) =>
    span.replace(/\s+/g, ' '),
  )
  return [
    ...lines.map((line) => ({ line, sentence: false })),
    ...spans.map((line) => ({ line, sentence: true })),
  ]
    .map(({ line, sentence }) => ({ line: line.trim().replace(/ #.*$/, ''), sentence }))
    .filter(({ line }) => /^(npx )?quench [a-z-]/.test(line))
}

describe.each(pages)('%s', (page) => {
  test('types what the parser takes', async () => {
    for (const { line, sentence } of typed(page)) {
      const [, ...words] = wordsOf(line.replace(/^npx /, ''))
      if (['--help', '--version'].includes(words.at(-1) as string)) continue
      // A sentence names commands without all that they need.
      const args = sentence && words.slice(1).every((word) => word.startsWith('-'))
      const needed = args ? requiredBy(words.slice(0, 1)) : []
      await expect(parse([...words, ...needed]), line).resolves.toMatchObject({ name: expect.anything() })
    }
  })

  test('names no option that does not exist', () => {
    const known = new Set(
      commands.flatMap((path) =>
        commandOf(path).options.flatMap(({ long, short }) => [long, short, ...alsoCalled(long)]),
      ),
    )
    const code = Array.from(read(page).matchAll(/`([^`\n]+)`/g), ([, span]) => span)
    const names = code
      .filter((span) => /^(npx )?quench |^--?[a-z]/.test(span))
      .flatMap((span) => span.match(/(?<![^ ,|/])--?[a-z][a-z-]*/g) ?? [])
    expect(names.filter((name) => !known.has(name) && !ofOthers.has(name) && name !== '--help')).toEqual([])
  })
})

test.each([
  ['eval -m a.gguf -f text.txt', 'eval a.gguf --data text.txt'],
  ['bench --model a.gguf b.gguf', 'bench a.gguf b.gguf'],
  ['imatrix -m a.gguf --file text.txt', 'imatrix a.gguf --data text.txt'],
  ['compare -m a.gguf -f folder', 'compare a.gguf -f folder'],
  ['push -m text', 'push -m text'],
])("llama.cpp's %s", (typed, meant) => {
  expect(translated(typed.split(' '))).toEqual(meant.split(' '))
})

test('docs/options.md is what the parser declares', () => {
  expect(read('docs/options.md')).toBe(optionsPage())
})

/** Values of placeholders: one that is taken, and one that is not, where there is such a one. */
const values: Readonly<Record<string, readonly [good: string, bad?: string]>> = {
  '<bits>': ['4.25', '0'],
  '<n>': ['2', 'two'],
  '<x>': ['0.5', '-1'],
  '<share>': ['0.5', '2'],
  '<size>': ['8GiB', '8XB'],
  '<time>': ['1h30m', 'soon'],
  '<lengths>': ['0,16', '1;2'],
  '<type>': ['q8_0'],
  '<float>': ['bf16', 'q8_0'],
  '<regex=type>': ['attn_v=q8_0', 'attn_v'],
  '<text>': ['attn_v'],
  '<layers>': ['3,4', '3;4'],
  '<key=type:value>': ['general.name=str:a b', 'general.name=a'],
  '<types>': ['q8_0,f16/q4_0', 'q7'],
  '<list>': ['q8_0,Q4_K'],
  '<file|n>': ['3'],
  '<file>': ['a.gguf'],
  '<model>': ['a.gguf'],
  '<folder>': ['a'],
  '<files...>': ['a.jsonl'],
  '<name>': ['RTX 4090'],
  '<org/name>': ['org/name', 'name'],
  '<paths...>': ['a.txt'],
}

const withOptions = commands.filter((path) => commandOf(path).options.length > 0)

describe.each(withOptions.map((path) => [path.join(' '), path] as const))('quench %s', (name, path) => {
  const own = commandOf(path)
  const args = [...path, ...requiredBy(path)]

  const placeholder = ({ flags }: Option): string | undefined => /[<[].*$/.exec(flags)?.[0]
  const valuesOf = (option: Option) => values[placeholder(option) ?? '']

  test.each(own.options.map((option) => [option.flags, option] as const))('takes %s', async (_, option) => {
    const wanted = placeholder(option)
    const value = option.argChoices?.[0] ?? valuesOf(option)?.[0]
    if (wanted !== undefined) expect(value, `${name} ${option.flags}: no value to try`).toBeDefined()
    for (const spelling of [option.long, option.short, ...alsoCalled(option.long ?? undefined)]) {
      if (!spelling) continue
      const words = translated([...args, spelling, ...(value === undefined ? [] : [value])])
      const { options } = await parse(words)
      expect(options, words.join(' ')).toHaveProperty(option.attributeName())
    }
  })

  test.each(
    own.options
      .map((option) => [option.flags, option] as const)
      .filter(([, option]) => option.argChoices || valuesOf(option)?.[1]),
  )('refuses what %s cannot be', async (_, option) => {
    const bad = option.argChoices ? 'neither' : valuesOf(option)[1]
    await expect(parse([...args, `${option.long}=${bad}`])).rejects.toThrow(String(option.long))
  })
})
