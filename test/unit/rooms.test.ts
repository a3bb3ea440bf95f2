/** The structure of the source: rooms import only what is beneath them, nothing goes in a circle, and nothing grows too large. */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { methods } from '../../src/config/methods.js'
import { formats } from '../../src/formats/table.js'

/** From the lowest; files in `src` itself lie beneath all of them but for those that are named here. */
const rooms = [
  ...[
    'gguf',
    'hub',
    'provenance',
    'graph',
    'formats',
    'llama',
    'models',
    'data',
    'outputs.ts',
    'checkpoint',
    'convert',
    'names',
    'lattice',
    'quantize',
    'validation',
  ],
  ...['backends', 'engine', 'optimizer', 'student', 'config', 'training-text', 'resume'],
  ...['distill', 'blockwise', 'plan', 'imatrix', 'train'],
  ...['evaluate', 'speed', 'compare', 'allocate', 'report', 'advise', 'cli', 'index.ts'],
]
const mostLines = 300
const mostFiles = 24

interface Source {
  readonly text: string
  /** Files that it imports, types included. */
  readonly imports: readonly string[]
}

/** The files of a tree by path. @param text of a file */
function sourcesOf(paths: readonly string[], text: (path: string) => string): Map<string, Source> {
  return new Map(
    paths.map((path) => {
      const own = text(path)
      const found = [...own.matchAll(/(?:from |import |import\()'(\.[^']+)'/g)]
      const imports = found.map(([, to]) => normalize(join(dirname(path), to)).replace(/\.js$/, '.ts'))
      return [path, { text: own, imports }]
    }),
  )
}

function rankOf(path: string): number {
  const [room] = path.split('/')
  const rank = rooms.indexOf(room)
  if (rank < 0 && path.includes('/'))
    throw new Error(`src/${room} is no room; give it its place in this test`)
  return rank
}

const upward = (sources: ReadonlyMap<string, Source>): string[] =>
  [...sources].flatMap(([path, { imports }]) =>
    imports.filter((to) => rankOf(to) > rankOf(path)).map((to) => `${path} imports ${to}`),
  )

/** Groups of files that import each other in a circle. */
function circles(sources: ReadonlyMap<string, Source>): string[][] {
  const reach = new Map<string, Set<string>>()
  for (const path of sources.keys()) {
    const seen = new Set<string>()
    const next = [...(sources.get(path)?.imports ?? [])]
    for (let at = next.pop(); at !== undefined; at = next.pop()) {
      if (seen.has(at)) continue
      seen.add(at)
      next.push(...(sources.get(at)?.imports ?? []))
    }
    reach.set(path, seen)
  }
  const found = new Map<string, string[]>()
  for (const [path, to] of reach) {
    if (!to.has(path)) continue
    const group = [...reach.keys()].filter((other) => to.has(other) && reach.get(other)?.has(path))
    found.set(group.join(), group)
  }
  return [...found.values()]
}

const root = fileURLToPath(new URL('../../src/', import.meta.url))
const paths = readdirSync(root, { recursive: true, encoding: 'utf8' })
  .map((path) => path.replaceAll('\\', '/'))
  .filter((path) => path.endsWith('.ts'))
const sources = sourcesOf(paths, (path) => readFileSync(join(root, path), 'utf8'))

describe('the rule', () => {
  const tree = (files: Readonly<Record<string, string>>) =>
    sourcesOf(Object.keys(files), (path) => files[path])

  test('tells of an import of a higher room, types included', () => {
    const files = { 'gguf/a.ts': "import type { X } from '../train/b.js'\n", 'train/b.ts': '' }
    expect(upward(tree(files))).toEqual(['gguf/a.ts imports train/b.ts'])
    expect(upward(tree({ 'a.ts': "await import('./gguf/b.js')", 'gguf/b.ts': '' }))).toHaveLength(1)
    expect(upward(tree({ 'train/a.ts': "import { x } from '../gguf/b.js'", 'gguf/b.ts': '' }))).toEqual([])
  })

  test('tells of circles', () => {
    const files = {
      'gguf/a.ts': "import './b.js'\nimport { c } from './c.js'\n",
      'gguf/b.ts': "import type { A } from './c.js'\n",
      'gguf/c.ts': "export { x } from './b.js'\n",
    }
    expect(circles(tree(files))).toEqual([['gguf/b.ts', 'gguf/c.ts']])
  })

  test('tells of a room without a place', () => {
    expect(() => upward(tree({ 'attic/a.ts': "import './b.js'", 'attic/b.ts': '' }))).toThrow('src/attic')
  })
})

test('no room imports a higher one', () => {
  expect(sources.size).toBeGreaterThan(200)
  expect(upward(sources)).toEqual([])
})

test('nothing imports itself in a circle', () => {
  expect(circles(sources)).toEqual([])
})

test('folders and files are small enough to be read', () => {
  const folders = new Map<string, number>()
  for (const path of sources.keys()) folders.set(dirname(path), (folders.get(dirname(path)) ?? 0) + 1)
  const large = [...folders].filter(([, files]) => files > mostFiles)
  expect(large).toEqual([])
  const long = [...sources].map(([path, { text }]) => [path, text.split('\n').length - 1] as const)
  expect(long.filter(([, lines]) => lines > mostLines)).toEqual([])
})

test('methods of training have their names in one table', () => {
  const named = new RegExp(`(['"\`])(?:${methods.join('|')})\\1`)
  const found = [...sources].filter(([path, { text }]) => !path.startsWith('formats/') && named.test(text))
  expect(found.map(([path]) => path)).toEqual(['config/methods.ts'])
})

/** Where names stand for files of a type, which a user may ask for. */
const namesOfFiles = [
  ...['checkpoint/safetensors.ts', 'convert/types.ts'],
  ...[
    'gguf/file-types.ts',
    'gguf/types.ts',
    'quantize/ptq.ts',
    'quantize/input-weights.ts',
    'quantize/needs-importance.ts',
  ],
  ...['names/choose.ts', 'advise/memory/repack.ts', 'compare/ladder.ts', 'compare/demo.ts'],
  ...['cli/demo.ts', 'data/self-written.ts'],
]

test('number formats are named and imported in their own room alone', () => {
  const named = new RegExp(`(['"\`])(?:${formats.map(({ name }) => name).join('|')})\\1`)
  const code = (text: string): string => text.replace(/\/\*.*?\*\//gs, '').replace(/\/\/.*/g, '')
  const others = [...sources].filter(([path]) => !path.startsWith('formats/'))
  const found = others.filter(([path, { text, imports }]) => {
    const imported = imports.some((to) => to.startsWith('formats/types/'))
    return imported || (named.test(code(text)) && !namesOfFiles.includes(path))
  })
  expect(found.map(([path]) => path)).toEqual([])
  // A name that has gone needs no leave.
  const stale = namesOfFiles.filter((path) => !named.test(code(sources.get(path)?.text ?? '')))
  expect(stale).toEqual([])
})
