/** What a comparison takes from its store: only what was made or measured from the same contents, settings and sitting. */
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { evaluateAll, type Running } from '../../src/compare/evaluations.js'
import { type MakeOptions, makeFiles } from '../../src/compare/make.js'
import { benchAll, writeAll } from '../../src/compare/measure.js'
import { Store } from '../../src/compare/store.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'

/** Counts what is done instead of doing it: files hold tiny models, and speeds are those of the machine's day. */
const fake = vi.hoisted(() => {
  // Unit tests share processes, and another one may have loaded what is replaced here.
  vi.resetModules()
  return {
    trained: 0,
    evaluated: 0,
    written: 0,
    rounds: 0,
    speed: 1,
    machine: { cpu: 'a processor', cores: 2 },
    failAt: Number.POSITIVE_INFINITY,
  }
})
vi.mock('../../src/train/train.js', () => ({
  train: async ({ output }: { output: string }) => {
    await writeTinyGguf(output, { seed: ++fake.trained })
    return { path: output, trained: fake.trained }
  },
}))
vi.mock('../../src/quantize/ptq.js', async (original) => ({
  ...(await original<object>()),
  quantizeFile: async (_: string, output: string) => writeTinyGguf(output, { seed: 99 }),
}))
vi.mock('../../src/evaluate/index.js', async (original) => ({
  ...(await original<object>()),
  evaluateFiles: async ({ files }: { files: string[] }) => {
    fake.evaluated += files.length
    return {
      files: files.map((path) => ({ path, perplexity: { mean: 9 } })),
      reference: { perplexity: { mean: 9 } },
      windows: 1,
      tokens: 1,
      warnings: [],
    }
  },
}))
vi.mock('../../src/compare/continuations.js', () => ({ writeOn: async () => [++fake.written] }))
vi.mock('../../src/speed/index.js', async (original) => ({
  ...(await original<object>()),
  thisMachine: () => fake.machine,
  runRound: async () => {
    if (++fake.rounds > fake.failAt) throw new Error('killed')
    return { loadMs: 1, tokensPerSecond: [fake.speed], memory: {} }
  },
}))

let folder: string
let store: Store
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-'))
  store = await Store.open(join(folder, 'store.db'))
  Object.assign(fake, {
    trained: 0,
    evaluated: 0,
    written: 0,
    rounds: 0,
    speed: 1,
    failAt: Number.POSITIVE_INFINITY,
  })
  fake.machine = { cpu: 'a processor', cores: 2 }
})
afterEach(async () => {
  store.close()
  await rm(folder, { recursive: true })
})

test('a trained file is made again when its training text, settings or machine are others, and only then', async () => {
  const [text, texts] = [join(folder, 'text.txt'), join(folder, 'texts')]
  await writeFile(text, 'once upon a time')
  await mkdir(texts)
  await writeFile(join(texts, 'a.md'), 'in a folder')
  const made = async (training: MakeOptions['training'], versions = { quench: '1' }) => {
    const before = fake.trained
    const options = {
      model: 'm-f16.gguf',
      modelHash: 'ab',
      types: [],
      imatrix: 'none',
      train: ['Q4_0'],
      files: [],
      folder,
    }
    await makeFiles(store, { ...options, training, versions })
    return fake.trained - before
  }
  const both = { data: [text, texts] }
  expect(await made(both)).toBe(1)
  expect(await made(both)).toBe(0)
  await writeFile(text, 'once upon a time, long ago')
  expect(await made(both)).toBe(1)
  expect(await made(both)).toBe(0)
  await writeFile(join(texts, 'b.txt'), 'one more')
  expect(await made(both)).toBe(1)
  // The same text under other names.
  const [moved, renamed] = [join(folder, 'moved'), join(folder, 'renamed.txt')]
  await rename(texts, moved)
  await rename(text, renamed)
  expect(await made({ data: [renamed, moved] })).toBe(0)
  expect(await made({ data: [moved, renamed] })).toBe(1) // another order is another text
  for (const training of [{}, { seed: 2 }, { steps: 7 }, { tokens: 99 }, { seconds: 5 }]) {
    expect(await made(training)).toBe(1)
    expect(await made(training)).toBe(0)
  }
  fake.machine = { cpu: 'a processor', cores: 4 }
  expect(await made({})).toBe(1)
  expect(await made({}, { quench: '2' })).toBe(1)
  await rm(join(folder, 'm-Q4_0-QAT.gguf'))
  expect(await made({}, { quench: '2' })).toBe(1)
})

const tests = [{ kind: 'prompt', tokens: 8, depth: 0 }] as const
const files = ['reference', 'a', 'b', 'c'].map((name) => ({ path: `${name}.gguf`, hash: name }))

test('speeds of a turn are of one sitting, whatever files are added or left out later', async () => {
  const bench = async (names: readonly string[], repetitions = 2) => {
    const wanted = files.filter(({ hash }) => names.includes(hash))
    return benchAll(store, wanted, { tests, repetitions, running: {}, versions: {} })
  }
  const speeds = (rounds: Awaited<ReturnType<typeof bench>>) =>
    [...rounds].map(([hash, turns]) => [hash, ...turns.map(({ tokensPerSecond }) => tokensPerSecond[0])])
  await bench(['reference', 'a'])
  expect(fake.rounds).toBe(4)
  // A day on which the machine is half as fast.
  fake.speed = 0.5
  expect(speeds(await bench(['reference', 'a', 'b']))).toEqual([
    ['reference', 0.5, 0.5],
    ['a', 0.5, 0.5],
    ['b', 0.5, 0.5],
  ])
  expect(fake.rounds).toBe(10)
  expect(speeds(await bench(['reference', 'a']))).toEqual([
    ['reference', 1, 1],
    ['a', 1, 1],
  ])
  // Stopped in the middle of the second turn: the first is kept, and of the second nothing.
  fake.failAt = fake.rounds + 3
  await expect(bench(['reference', 'c'])).rejects.toThrow('killed')
  Object.assign(fake, { failAt: Number.POSITIVE_INFINITY, speed: 0.1 })
  expect(speeds(await bench(['reference', 'c'], 3))).toEqual([
    ['reference', 0.5, 0.1, 0.1],
    ['c', 0.5, 0.1, 0.1],
  ])
})

test('evaluations, speeds and continuations are of one machine, number of threads and release', async () => {
  const file = files.slice(1, 2)
  const measure = async (threads?: number, versions = {}, text = 'text', more: Running = {}) => {
    const shared = { versions, running: { ...more, ...(threads !== undefined && { threads }) } }
    const documents = [{ name: 'text.txt', text }]
    await evaluateAll(store, file, { ...shared, reference: files[0], documents, context: 64 })
    await benchAll(store, file, { ...shared, tests, repetitions: 1 })
    await writeAll(store, file, [{ text: '', tokens: [1] }], { ...shared, length: 4 })
    return [fake.evaluated, fake.rounds, fake.written]
  }
  expect(await measure()).toEqual([1, 1, 1])
  expect(await measure()).toEqual([1, 1, 1])
  expect(await measure(1)).toEqual([2, 2, 2])
  fake.machine = { cpu: 'another processor', cores: 2 }
  expect(await measure()).toEqual([3, 3, 3])
  fake.machine = { cpu: 'another processor', cores: 8 }
  expect(await measure()).toEqual([4, 4, 4])
  expect(await measure(undefined, { llamaPackage: 'linux-x64-cuda' })).toEqual([5, 5, 5])
  expect(await measure(undefined, {}, 'other text')).toEqual([6, 5, 5])
})
