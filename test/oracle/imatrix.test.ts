/** `makeImatrix`: what it collects, how it goes on after a stop, and that libllama quantizes with its files. */
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { cpu } from '../../src/backends/cpu/cpu.js'
import { importanceOf } from '../../src/blockwise/importance.js'
import { joinWindows } from '../../src/data/windows.js'
import { onDevice } from '../../src/engine/device-weights.js'
import { Network } from '../../src/engine/network.js'
import { openGguf } from '../../src/gguf/index.js'
import { collect } from '../../src/imatrix/collect.js'
import { makeImatrix } from '../../src/imatrix/make.js'
import { LlamaModel } from '../../src/llama/index.js'
import { readImatrix } from '../../src/quantize/imatrix/file.js'
import { quantizeFile } from '../../src/quantize/ptq.js'
import { openSource } from '../../src/student/source.js'
import { randomTokens } from '../support/logits.js'
import { tinyVocabulary, writeTinyGguf } from '../support/tiny-gguf.js'
import { wordText } from '../support/word-text.js'

let folder: string
let model: string
let text: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-imatrix-'))
  model = join(folder, 'model.gguf')
  text = join(folder, 'text.txt')
  await writeTinyGguf(model, { width: 256, feedForward: 256, layers: 2 })
  await writeFile(text, wordText(3000))
})
afterAll(() => rm(folder, { recursive: true }))

test('is the mean over the windows of llama-imatrix, also where they are no whole number of batches', async () => {
  const output = join(folder, 'matrix.gguf')
  const report = await makeImatrix({
    input: model,
    output,
    data: [text],
    context: 500,
    tokens: 2999,
    processOutput: true,
  })
  expect(report).toMatchObject({ path: output, windows: 5, tokens: 2500, entries: 15, datasets: [text] })
  using vocabulary = await LlamaModel.load(model, { vocabOnly: true })
  const stream = vocabulary.tokenize(wordText(3000), { addSpecial: true })
  const windows = [0, 1, 2, 3, 4].map((i) => stream.slice(500 * i, 500 * (i + 1)))
  for (const window of windows) if (vocabulary.addBos) window[0] = vocabulary.bos as number
  const source = await openSource(model)
  const network = new Network(cpu, source.architecture, source.config, { windows: 5, length: 500 })
  const expected = await importanceOf(network, [joinWindows(windows)], onDevice(cpu, source.weights))
  await network.dispose()
  const { importance, datasets, chunks } = await readImatrix(output)
  expect({ datasets, chunks }).toEqual({ datasets: [text], chunks: 5 })
  expect([...importance.keys()]).toEqual([...expected.keys()].toSorted())
  for (const [name, values] of importance)
    for (const [i, value] of values.entries())
      expect(value / (expected.get(name)?.[i] ?? 0), name).toBeCloseTo(1, 4)
  await source.gguf.close()

  const quantized = join(folder, 'q2_k_s.gguf')
  expect((await quantizeFile(model, quantized, 'Q2_K_S', { imatrix: output })).warnings).toEqual([])
  const gguf = await openGguf(quantized)
  expect(gguf.metadata.number('quantize.imatrix.chunks_count')).toBe(5)
  await gguf.close()
})

test('the model writes the text where there is none, and another one than for evaluation', async () => {
  const warnings: string[] = []
  const output = join(folder, 'own.gguf')
  const options = { input: model, output, tokens: 128, context: 64 }
  const report = await makeImatrix({ ...options, onWarning: (warning) => warnings.push(warning) })
  expect(report).toMatchObject({ entries: 14, windows: 2, datasets: ['written by model.gguf'] })
  expect(warnings).toEqual([
    `no text was given, so ${model} wrote 3 documents to collect importances on; text of your own may suit what you use it for better`,
  ])
})

test('a collection that was stopped goes on with the same sums', async () => {
  const source = await openSource(model)
  const windows = Array.from({ length: 36 }, (_, i) => randomTokens(512, tinyVocabulary, i + 2))
  const partial = join(folder, 'sums.partial')
  const options = { source, windows, partial, memory: 8e9, processOutput: false, resume: false }
  const whole = await collect({ ...options, onProgress: () => {} })
  await rm(partial)
  const stop = (done: number): void => {
    if (done > 33 * 512) throw new Error('stopped')
  }
  await expect(collect({ ...options, onProgress: stop })).rejects.toThrow('stopped')
  const told: number[] = []
  const resumed = await collect({ ...options, resume: true, onProgress: (done) => told.push(done) })
  expect(told[0]).toBeGreaterThan(32 * 512)
  expect(resumed).toEqual(whole)
  const other = { ...options, resume: true, onProgress: () => {} }
  await expect(collect({ ...other, processOutput: true })).rejects.toThrow(
    /is of a run with another model, text/,
  )
  await expect(collect({ ...options, memory: 1e6, onProgress: () => {} })).rejects.toThrow(
    /takes about .* GB of memory and 0\.0 GB are allowed/,
  )
  await source.gguf.close()
})

test('what cannot be is refused, and leaves nothing behind', async () => {
  const out = await mkdtemp(join(folder, 'out-'))
  const options = { input: model, output: join(out, 'm.gguf'), data: [text] }
  await expect(makeImatrix({ ...options, context: 4096 })).rejects.toThrow(
    /--context 4096 is more than the model's/,
  )
  await expect(makeImatrix({ ...options, tokens: 100, context: 128 })).rejects.toThrow(
    'the text has 100 tokens, and a window 128; give more of it, or a smaller --context',
  )
  await expect(makeImatrix({ ...options, resume: true })).rejects.toThrow(/has nothing to resume/)
  await expect(makeImatrix({ ...options, output: text })).rejects.toThrow(/would overwrite/)
  await expect(makeImatrix({ ...options, tokens: 0 })).rejects.toThrow(
    'tokens is 0; it must be a whole number',
  )
  expect(await readdir(out)).toEqual([])
})
