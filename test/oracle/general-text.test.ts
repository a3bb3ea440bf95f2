/** The text that ships as a run reads it: five kinds, and parts of which none is in another. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { textKinds } from '../../src/data/shipped-texts.js'
import { LlamaModel } from '../../src/llama/index.js'
import { readText, type TextOptions, trainingText } from '../../src/training-text/text.js'
import type { KindWindows } from '../../src/validation/validation.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'
import { stringValue, withMetadata } from '../support/with-metadata.js'

vi.unmock('../../src/data/shipped-texts.js')

const shipped = new URL('../../models/quench-5m-f16.gguf', import.meta.url).pathname
const template = '{% for m in messages %}[[{{ m.role }}]]{{ m.content }}<|endoftext|>{% endfor %}'

let folder: string
let tiny: string
let chat: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-general-'))
  process.env.QUENCH_CACHE = join(folder, 'cache')
  tiny = join(folder, 'tiny.gguf')
  chat = join(folder, 'chat.gguf')
  await writeTinyGguf(tiny)
  await withMetadata(shipped, chat, { 'tokenizer.chat_template': stringValue(template) })
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const options: TextOptions = { data: [], tokens: 4096, length: 64, seed: 1, fingerprint: 'general' }
const keys = (windows: readonly Int32Array[]): string[] => windows.map((window) => window.join())

describe('parts', () => {
  test('have all kinds in equal numbers, and share no window', async () => {
    const { general, trial, validation, files } = await readText(tiny, options)
    for (const part of [general, trial, validation])
      expect(part.map(({ kind }) => kind).toSorted()).toEqual(textKinds.toSorted())
    for (const { windows } of trial) expect(windows).toHaveLength(512 / 64)
    for (const { windows } of validation) expect(windows).toHaveLength(1536 / 64)
    expect(files).toEqual([])
    const seen = new Set<string>()
    for (const { windows } of [...trial, ...validation])
      for (const key of keys(windows)) {
        expect(seen).not.toContain(key)
        seen.add(key)
      }
    const shared = general.flatMap(({ windows }) => keys(windows)).filter((key) => seen.has(key))
    expect(shared).toEqual([])
  })

  test('are the same whatever the run trains on', async () => {
    const path = join(folder, 'digits.txt')
    await writeFile(path, Array.from({ length: 4000 }, (_, i) => (i * 7919) % 100_003).join(' '))
    const plain = await readText(tiny, options)
    const digits = await readText(tiny, { ...options, data: [path], general: 0, tokens: 512, seed: 2 })
    expect(digits.trial).toEqual(plain.trial)
    expect(digits.importance).toEqual(plain.importance)
    expect(digits.validation.slice(0, -1)).toEqual(plain.validation)
    const own = digits.validation.at(-1) as KindWindows
    expect(own).toMatchObject({ kind: 'your text', apart: true })
    expect(own.windows.length).toBeGreaterThan(1)
    const { windows, fileTokens } = await trainingText(tiny, { ...options, data: [path], general: 0 }, digits)
    expect(fileTokens).toBe(4096)
    const unseen = new Set([...plain.trial, ...plain.validation, own].flatMap((kind) => keys(kind.windows)))
    expect(keys(windows).filter((key) => unseen.has(key))).toEqual([])
  })

  test('of windows that are longer than a part is to be have one of each kind', async () => {
    const { trial, validation } = await readText(tiny, { ...options, length: 1024 })
    expect(trial.map(({ windows }) => windows.length)).toEqual([1, 1, 1, 1, 1])
    expect(validation.map(({ windows }) => windows.length)).toEqual([2, 2, 2, 2, 2])
  })
})

test('conversations pass through the template of a model that has one, and are plain text without', async () => {
  const [rendered, plain] = [/\[\[(user|assistant)\]\]/g, /^(User|Assistant): /gm]
  for (const [path, marks, others] of [
    [chat, rendered, plain],
    [shipped, plain, rendered],
  ] as const) {
    using model = await LlamaModel.load(path, { vocabOnly: true })
    const { general } = await readText(path, options)
    for (const { kind, windows } of general) {
      const text = windows.map((window) => model.detokenize(window, { special: true })).join('')
      const count = (pattern: RegExp): number => [...text.matchAll(pattern)].length
      if (kind === 'conversations') expect(count(marks)).toBeGreaterThan(50)
      else expect(count(rendered)).toBe(0)
      expect(count(others)).toBeLessThan(3) // there may be some in a text
    }
  }
})
