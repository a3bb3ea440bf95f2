/** Embedding and output matrices that are left out of training: which, what the file then holds, and what it saves. */

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { cpu } from '../../src/backends/cpu/cpu.js'
import { type Training, trainingOf } from '../../src/config/methods.js'
import type { TrainOptions } from '../../src/config/options.js'
import { openGguf } from '../../src/gguf/index.js'
import { quantizeModel } from '../../src/llama/index.js'
import { llama } from '../../src/models/llama.js'
import { bytesOf } from '../../src/plan/memory.js'
import { planRun } from '../../src/plan/plan.js'
import { openSource, targetTypes } from '../../src/student/source.js'
import { type EmbeddingChoice, untrainedSets } from '../../src/student/untrained.js'
import type { TrainReport } from '../../src/train/report.js'
import { train } from '../../src/train/train.js'
import { slowSpeeds } from '../support/block-seconds.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'
import { writeTinyVariant } from '../support/tiny-models.js'
import { tinyConfig } from '../support/tiny-network.js'
import { wordText } from '../support/word-text.js'

let folder: string
let text: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-embeddings-'))
  process.env.QUENCH_CACHE = join(folder, 'cache')
  text = join(folder, 'text.txt')
  await writeFile(text, wordText(3000))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const run = (name: string, output: string, more: Partial<TrainOptions>): Promise<TrainReport> =>
  train({
    input: join(folder, name),
    output: join(folder, output),
    type: 'Q4_0',
    data: [text],
    ...{ tokens: 2048, context: 64, batch: 128, calibration: 512, validation: 512, steps: 12 },
    ...more,
  })

async function tensorBytes(path: string, name: string): Promise<Buffer> {
  const gguf = await openGguf(path)
  const bytes = Buffer.from(await gguf.read(gguf.tensor(name)))
  await gguf.close()
  return bytes
}

describe('matrices that are left out', () => {
  it.each([
    ['llama', false, ['token_embd.weight', 'output.weight']],
    ['llama tied', true, ['token_embd.weight']],
  ] as const)('%s: the file holds them as the reference quantizer makes them', async (label, tied, names) => {
    const input = `${label}.gguf`
    await writeTinyGguf(join(folder, input), { width: 64, heads: 2, headsKV: 1, feedForward: 96, tied })
    const report = await run(input, `${label}-out.gguf`, { embeddings: 'no' })
    expect(report.weights.untrained).toEqual(names)
    expect(report.weights.all - report.weights.trained).toBe(names.length * 271 * 64)
    expect(report.recovered).toBeGreaterThan(0.05)
    expect(report.check.differing).toBe(0)
    const ptq = join(folder, `${label}-ptq.gguf`)
    await quantizeModel(join(folder, input), ptq, { type: 'Q4_0' })
    for (const name of names)
      expect((await tensorBytes(report.path, name)).equals(await tensorBytes(ptq, name)), name).toBe(true)
    const trained = await run(input, `${label}-all.gguf`, { embeddings: 'yes', calibration: 0 })
    expect(trained.weights.untrained).toEqual([])
    expect((await tensorBytes(trained.path, names[0])).equals(await tensorBytes(ptq, names[0]))).toBe(false)
  })

  it('a table of which tokens choose rows is not held, and a run that was stopped goes on to the same file', async () => {
    const gemma4 = { slides: [true, false], perLayer: 32, shared: 0, keysAsValues: [], scales: {} }
    const variant = {
      architecture: 'gemma4',
      layers: 2,
      tied: true,
      gemma4,
      width: 64,
      feedForward: 128,
    } as const
    await writeTinyVariant(join(folder, 'gemma4.gguf'), {
      ...variant,
      metadata: { 'attention.sliding_window': 16 },
    })
    const options = { embeddings: 'no' } as const
    const report = await run('gemma4.gguf', 'gemma4-out.gguf', options)
    expect(report.weights.untrained).toEqual(['token_embd.weight', 'per_layer_token_embd.weight'])
    expect(report.recovered).toBeGreaterThan(0.02)
    const stop = new AbortController()
    const onProgress: TrainOptions['onProgress'] = (e) => e.stage === 'train' && e.done === 5 && stop.abort()
    const stopped = { ...options, signal: stop.signal, onProgress }
    await expect(run('gemma4.gguf', 'again.gguf', stopped)).rejects.toThrow('--resume')
    await expect(run('gemma4.gguf', 'again.gguf', { embeddings: 'yes', resume: true })).rejects.toThrow(
      'other settings (--train-embeddings no, now --train-embeddings yes)',
    )
    const again = await run('gemma4.gguf', 'again.gguf', { ...options, resume: true })
    expect((await readFile(again.path)).equals(await readFile(report.path))).toBe(true)
  })
})

describe('the choice', () => {
  it('leaves large matrices with bits to spare out, and others only where memory is short', async () => {
    const sets = async (
      layers: number,
      type: string,
      tied: boolean,
      choice: EmbeddingChoice = 'auto',
    ): Promise<string[][]> => {
      const path = join(folder, `choice-${layers}-${tied}.gguf`)
      await writeTinyGguf(path, { layers, width: 64, heads: 4, feedForward: 64, tied })
      const source = await openSource(path)
      const found = untrainedSets(source, targetTypes(source, { type }), choice)
      await source.gguf.close()
      return found.map((set) => [...set])
    }
    const both = ['token_embd.weight', 'output.weight']
    // Rows of 64 weights get Q8_0 in place of Q6_K.
    expect(await sets(1, 'Q4_0', true)).toEqual([['token_embd.weight']])
    expect(await sets(1, 'Q4_0', false)).toEqual([['output.weight'], both])
    expect(await sets(8, 'Q4_0', false)).toEqual([[], both])
    expect(await sets(1, 'Q4_0', true, 'yes')).toEqual([[]])
    expect(await sets(8, 'Q4_0', false, 'no')).toEqual([both])
  })

  it('counts in the plan: bytes, seconds and what fits', async () => {
    const model = { architecture: llama, config: tinyConfig({ width: 256, vocabulary: 32_768, tied: true }) }
    const untrained = [new Set<string>(), new Set(['token_embd.weight'])]
    const options = {
      ...{
        backend: cpu,
        method: 'auto' as const,
        batch: 512,
        calibration: 0,
        validation: 7680,
        importance: 15_360,
        trial: 2560,
        steps: 100,
      },
      seconds: undefined,
      speeds: slowSpeeds,
      ...{ untrained, text: 131_072, length: 128, topK: 0 },
    }
    const distill = trainingOf('distill') as Training
    const [all, some] = untrained.map((set) => bytesOf(distill, model, { ...options, memory: 0 }, set))
    expect(all - some).toBe(16 * 32_768 * 256)
    const wide = await planRun(model, { ...options, memory: all })
    const tight = await planRun(model, { ...options, memory: all - 1 })
    expect([wide.method, wide.untrained]).toEqual(['distill', []])
    expect([tight.method, tight.untrained]).toEqual(['distill', ['token_embd.weight']])
    expect(tight.checkpointBytes).toBeLessThan(wide.checkpointBytes / 2)
  })
})
