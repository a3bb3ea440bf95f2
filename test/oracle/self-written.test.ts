/** Text that a model writes for its training: where it begins, conversations, the cache in parts, and mixtures with files. */
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { checkWritingMemory, selfWritten, selfWrittenBytes } from '../../src/data/self-written.js'
import { LlamaModel } from '../../src/llama/index.js'
import { readText, type TextOptions, trainingText, writingOf } from '../../src/training-text/text.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'
import { stringValue, withMetadata } from '../support/with-metadata.js'

const threads = vi.hoisted(() => ({ count: 1 }))
vi.mock(import('../../src/threads.js'), async (original) => ({
  ...(await original()),
  threadCount: () => threads.count,
}))

const template =
  '{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content }}<|endoftext|>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}'
const shipped = new URL('../../models/quench-5m-f16.gguf', import.meta.url).pathname

let folder: string
let tiny: string
let chat: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-self-written-'))
  process.env.QUENCH_CACHE = join(folder, 'cache')
  tiny = join(folder, 'tiny.gguf')
  chat = join(folder, 'chat.gguf')
  await writeTinyGguf(tiny)
  await withMetadata(shipped, chat, { 'tokenizer.chat_template': stringValue(template) })
})
afterAll(() => rm(folder, { recursive: true, force: true }))

async function withModel<T>(path: string, use: (model: LlamaModel) => Promise<T>): Promise<T> {
  const model = await LlamaModel.load(path, { vocabOnly: true })
  try {
    return await use(model)
  } finally {
    model.dispose()
  }
}

const write = (path: string, more: Partial<Parameters<typeof selfWritten>[2]> = {}): Promise<Int32Array[]> =>
  withModel(path, (model) =>
    selfWritten(path, model, { sequences: 12, length: 48, seed: 1, fingerprint: path, ...more }),
  )

describe('beginnings', () => {
  test('half begin with BOS alone, half with an ordinary token after it; the seed decides', async () => {
    const windows = await write(tiny, { sequences: 40 })
    await withModel(tiny, async (model) => {
      expect(windows.every((w) => w.length === 48 && w[0] === model.bos)).toBe(true)
      const second = windows.filter((_, i) => i % 2 === 1).map((w) => w[1])
      expect(new Set(second).size).toBeGreaterThan(12)
      expect(second.every((token) => model.isOrdinary(token))).toBe(true)
    })
    expect(await write(tiny, { sequences: 40, fingerprint: 'same weights' })).toEqual(windows)
    expect(await write(tiny, { sequences: 40, seed: 2 })).not.toEqual(windows)
  })
})

describe('conversations', () => {
  test('every second text is one, both sides are written, and the template stands between them', async () => {
    const windows = await write(chat, { length: 96 })
    const plain = await write(shipped, { length: 96 })
    await withModel(chat, async (model) => {
      const texts = windows.map((w) => model.detokenize(w, { special: true }))
      const talks = texts.filter((_, i) => i % 2 === 1)
      const start = '<|endoftext|><user>'
      expect(talks.every((text) => text.startsWith(start))).toBe(true)
      for (const text of talks) {
        // The user says something of at most a quarter of the window, and the assistant begins.
        const [user, answer] = text.slice(start.length).split('<|endoftext|><assistant>')
        expect(user).not.toContain('<user>')
        expect(model.tokenize(user).length).toBeLessThanOrEqual(30)
        expect(answer.length).toBeGreaterThan(20)
      }
      expect(texts.filter((_, i) => i % 2 === 0).some((text) => text.includes('<user>'))).toBe(false)
    })
    // The others are those of a model without a template.
    expect(windows[0].subarray(0, 2)).toEqual(plain[0].subarray(0, 2))
  })

  test('a template that fails, or fills the window, is left alone', async () => {
    for (const [name, text] of [
      ['fails', "{{ raise_exception('no') }}"],
      ['drops', '{{ messages[0].content }}'],
      ['long', `${'the sea '.repeat(40)}${template}`],
    ]) {
      const path = join(folder, `${name}.gguf`)
      await withMetadata(tiny, path, { 'tokenizer.chat_template': stringValue(text) })
      expect(await write(path)).toEqual(await write(tiny))
    }
  })
})

describe('cache', () => {
  const parts = async (): Promise<string[]> =>
    (await readdir(join(folder, 'cache'), { recursive: true })).filter((name) => name.endsWith('.tokens'))

  test('what was stopped goes on after the last part, to the same text', async () => {
    const options = { sequences: 20, length: 64, partTokens: 8 * 64 } // parts of 8, 8 and 4
    const whole = await write(tiny, { ...options, fingerprint: 'undisturbed' })
    const stop = new AbortController()
    const before = (await parts()).length
    const stopped = write(tiny, {
      ...options,
      fingerprint: 'stopped',
      signal: stop.signal,
      onProgress: (done) => {
        if (done > 8.5 * 64) stop.abort(new Error('stopped here'))
      },
    })
    await expect(stopped).rejects.toThrow('stopped here')
    expect((await parts()).length).toBe(before + 1)
    const seen: number[] = []
    const onProgress = (done: number): number => seen.push(done)
    expect(await write(tiny, { ...options, fingerprint: 'stopped', onProgress })).toEqual(whole)
    expect(seen[0]).toBeGreaterThan(8 * 64)
    expect(seen.at(-1)).toBe(20 * 64)
    // Less of the same text: the parts that are whole serve again.
    const less = await write(tiny, { ...options, sequences: 16, fingerprint: 'stopped' })
    expect(less).toEqual(whole.slice(0, 16))
  })

  test('of which time suffices for a part is that part from then on', async () => {
    const late = { sequences: 40, seed: 9 }
    const some = await write(tiny, { ...late, until: performance.now() })
    expect(some.length).toBeLessThan(20)
    const tokens: number[] = []
    const again = await write(tiny, {
      ...late,
      sequences: some.length,
      onProgress: (done) => tokens.push(done),
    })
    expect(again).toEqual(some)
    expect(tokens).toEqual([])
    expect(await write(tiny, late)).toHaveLength(40)
  })

  test('is another for another number of threads, on which the last bits of a prediction can depend', async () => {
    const options = { sequences: 4, fingerprint: 'threads' }
    await write(tiny, options)
    const before = (await parts()).length
    for (const [count, more] of [
      [2, 1],
      [1, 1],
    ]) {
      threads.count = count
      await write(tiny, options)
      expect((await parts()).length).toBe(before + more)
    }
  })

  test('a large model writes with a copy, which is gone afterwards; its memory and disk are told', async () => {
    const large = join(folder, 'large.gguf')
    await writeTinyGguf(large, { layers: 1, width: 1024, feedForward: 5120, heads: 8 })
    const windows = await write(large, { sequences: 8, length: 16 })
    expect(windows).toHaveLength(8)
    expect((await readdir(join(folder, 'cache'), { recursive: true })).join()).not.toContain('writer.gguf')
    await withModel(large, async (model) => {
      expect(selfWrittenBytes(model, { sequences: 8, length: 16 })).toEqual({
        text: 4 * 8 * 16 + 32,
        copy: Math.ceil((34 / 32) * model.parameters),
      })
      expect(() => checkWritingMemory(model, 1e9)).toThrow(/takes about 1\.\d+ GB of memory.*--data/)
      expect(() => checkWritingMemory(model, 2e9)).not.toThrow()
    })
  })
})

describe('mixtures', () => {
  const options = { tokens: 1024, length: 32, seed: 1, fingerprint: 'mixed', data: [] as string[] }
  const text = async (more: Partial<TextOptions>) => {
    const wanted = { ...options, ...more }
    return trainingText(tiny, wanted, await readText(tiny, wanted))
  }
  const writing = async (more: Partial<TextOptions>) => {
    const wanted = { ...options, ...more }
    return writingOf(tiny, wanted, await readText(tiny, wanted))
  }
  const none = { tokens: 0, text: 0, copy: 0 }

  test('a share of each source, whether it is in the cache already or not', async () => {
    const file = join(folder, 'text.txt')
    await writeFile(file, 'the sea and the rain on the stone in the end of the sea. '.repeat(80))
    const shares = { data: [file], selfWritten: 0.25, general: 0.5 }
    const mixed = await text(shares)
    expect(mixed).toMatchObject({ generalTokens: 512, fileTokens: 256, selfWrittenTokens: 256 })
    expect(mixed.windows).toHaveLength(32)
    expect(mixed.cacheBytes).toBe(4 * 256 + 32)
    expect(await text(shares)).toEqual(mixed)
    const read = await text({ data: [file], general: 0 })
    expect(read).toMatchObject({ generalTokens: 0, fileTokens: 1024, selfWrittenTokens: 0, cacheBytes: 0 })
    expect(read.distinct4).toBeLessThan(mixed.distinct4)
    const own = await text({ selfWritten: 1 })
    expect(own).toMatchObject({ generalTokens: 0, fileTokens: 0, selfWrittenTokens: 1024 })
    expect(own.windows).toContainEqual(mixed.windows.at(-1))
  })

  test('what is still to be written is told before, and refused where it takes too much memory', async () => {
    const wanted = { selfWritten: 0.5, fingerprint: 'still to be written' }
    await expect(writing({ ...wanted, memory: 1e3 })).rejects.toThrow('--data')
    const before = await writing(wanted)
    const { cacheBytes } = await text(wanted)
    expect(before).toEqual({ tokens: 16 * 32, text: cacheBytes, copy: 0 })
    expect(await writing({ ...wanted, memory: 1e3 })).toEqual(none) // it is there already, so it takes no memory
    expect(await writing({ selfWritten: 0, memory: 1e3 })).toEqual(none)
  })
})
