/** Training from the teacher's likeliest tokens, kept on disk: what the file holds, what a plan says of it, and that runs go on. */

import { existsSync } from 'node:fs'
import { mkdtemp, open, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { cpu } from '../../src/backends/cpu/cpu.js'
import type { TrainEvent, TrainOptions } from '../../src/config/options.js'
import { joinWindows as joined } from '../../src/data/windows.js'
import { TopKCache, topKBytes } from '../../src/distill/top-k.js'
import { Network } from '../../src/engine/network.js'
import { llama } from '../../src/models/llama.js'
import { planRun } from '../../src/plan/plan.js'
import type { TrainReport } from '../../src/train/report.js'
import { train } from '../../src/train/train.js'
import { speedsOf } from '../support/block-seconds.js'
import { deviceWeights } from '../support/device.js'
import { randomTokens } from '../support/logits.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'
import { tinyConfig, tinyWeights } from '../support/tiny-network.js'
import { wordText } from '../support/word-text.js'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-top-'))
  process.env.QUENCH_CACHE = join(folder, 'cache')
  await writeTinyGguf(join(folder, 'model.gguf'), { width: 256, heads: 4, feedForward: 256 })
  await writeFile(join(folder, 'text.txt'), wordText(3000))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

describe('the file', () => {
  const config = tinyConfig()
  const batch = { windows: 2, length: 12 }
  const weights = deviceWeights(tinyWeights(config, 1))
  const windows = [1, 2, 3, 4, 5].map((seed) => randomTokens(12, config.vocabulary, seed))

  it('holds what the teacher says of every window, in any order, and only what is missing is computed', async () => {
    const network = new Network(cpu, llama, config, batch)
    const path = join(folder, 'file', 'teacher')
    const options = { teacher: 'a', windows, k: 4 }
    const first = await TopKCache.open(path, options)
    await first.fill(network, weights, () => {})
    const mixed = await first.get([windows[4], windows[0]])
    await first.close()
    expect((await stat(path)).size).toBe(topKBytes(5, 12, 4))

    await network.forward(joined([windows[0], windows[1]]), weights)
    const own = await network.head.top(weights, 4)
    expect(mixed.ids.subarray(48)).toEqual(own.ids.subarray(0, 48))
    expect(mixed.logProbabilities.subarray(48)).toEqual(own.logProbabilities.subarray(0, 48))
    expect(mixed.rest.subarray(12)).toEqual(own.rest.subarray(0, 12))

    // One byte is damaged: that window is computed again, to the same bytes. Weights that would fail show what is not.
    const whole = await readFile(path)
    const handle = await open(path, 'r+')
    await handle.write(Uint8Array.of(whole[100] ^ 1), 0, 1, 100)
    await handle.close()
    const again = await TopKCache.open(path, options)
    await expect(again.get([windows[0]])).rejects.toThrow('was changed')
    await again.fill(network, weights, () => {})
    await again.fill(network, new Map(), () => {})
    await again.close()
    expect((await readFile(path)).equals(whole)).toBe(true)

    const other = await TopKCache.open(path, { ...options, teacher: 'b' })
    await expect(other.get([windows[0]])).rejects.toThrow('was changed')
    await other.close()
    await network.dispose()
  })
})

describe('training', () => {
  const run = (output: string, more: Partial<TrainOptions> = {}): Promise<TrainReport> =>
    train({
      ...{ input: join(folder, 'model.gguf'), output: join(folder, output), type: 'Q2_K' },
      ...{
        data: [join(folder, 'text.txt')],
        tokens: 2048,
        context: 64,
        batch: 128,
        calibration: 0,
        validation: 512,
      },
      ...{ steps: 20, teacherTopK: 16, ...more },
    })

  it('wins nearly as much as from the whole distribution, and says what it keeps', async () => {
    const whole = await run('whole.gguf', { teacherTopK: 0 })
    const top = await run('top.gguf')
    expect(top.plan.teacher).toEqual({ topK: 16, bytes: topKBytes(top.distinctTokens / 64, 64, 16) })
    expect(whole.plan.teacher).toEqual({ topK: 0, bytes: 0 })
    expect(top.recovered).toBeGreaterThan(0.8 * whole.recovered)
    expect(existsSync(join(folder, 'top.gguf.blocks'))).toBe(false)
  })

  it('ends with the same file when it was stopped, while the teacher was asked and later', async () => {
    const stops: readonly [when: (event: TrainEvent) => boolean, why: string][] = [
      [({ stage, done }) => stage === 'teacher' && done > 500, 'tokens of the teacher'],
      [({ stage, done }) => stage === 'train' && done === 12, 'after step 12'],
    ]
    for (const [i, [when, why]] of stops.entries()) {
      const stop = new AbortController()
      const onProgress: TrainOptions['onProgress'] = (event) => when(event) && stop.abort()
      const resume = i > 0
      await expect(run('again.gguf', { signal: stop.signal, onProgress, resume })).rejects.toThrow(why)
      expect(existsSync(join(folder, 'again.gguf.blocks', 'teacher'))).toBe(true)
    }
    await expect(run('again.gguf', { resume: true, teacherTopK: 15 })).rejects.toThrow(
      'other settings (--teacher-top-k ',
    )
    const again = await run('again.gguf', { resume: true })
    expect((await readFile(again.path)).equals(await readFile(join(folder, 'top.gguf')))).toBe(true)
  })

  it('leaves nothing behind where nothing is kept, and refuses more tokens than there are', async () => {
    await run('none.gguf', { checkpointEvery: Number.POSITIVE_INFINITY, steps: 2 })
    expect(existsSync(join(folder, 'none.gguf.blocks'))).toBe(false)
    await expect(run('none.gguf', { teacherTopK: 271 })).rejects.toThrow(
      "not less than the model's 271 tokens",
    )
  })
})

describe('the plan', () => {
  const plan = (vocabulary: number, steps: number, topK?: number) =>
    planRun(
      { architecture: llama, config: tinyConfig({ width: 64, vocabulary, tied: true }) },
      {
        ...{
          backend: cpu,
          method: 'distill',
          memory: 1e12,
          batch: 512,
          calibration: 0,
          validation: 7680,
          importance: 15_360,
          trial: 2560,
          steps,
          topK,
        },
        // Only the head takes time: two products of the student's, one of the teacher's.
        ...{ text: 51_200, length: 128, seconds: undefined, untrained: [new Set(['token_embd.weight'])] },
        speeds: speedsOf({ forward: 1e-9 }),
      },
    )

  it('keeps them where windows come again and the head is dear', async () => {
    expect((await plan(262_144, 1000)).teacher).toEqual({ topK: 256, bytes: topKBytes(400, 128, 256) })
    expect((await plan(262_144, 100)).teacher.topK).toBe(0)
    expect((await plan(300, 1000)).teacher.topK).toBe(0)
    expect((await plan(300, 1, 20)).teacher.topK).toBe(20)
    expect((await plan(262_144, 1000, 0)).teacher.topK).toBe(0)
  })
})
