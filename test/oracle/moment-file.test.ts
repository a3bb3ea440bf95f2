/** The optimizer's moments on disk: the same steps as in memory, and runs that end with the same file, killed or not. */

import { spawn } from 'node:child_process'
import { existsSync, statSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { cpu } from '../../src/backends/cpu/cpu.js'
import { type Training, trainingOf } from '../../src/config/methods.js'
import type { TrainOptions } from '../../src/config/options.js'
import { formatNamed } from '../../src/formats/table.js'
import { quantizeRows } from '../../src/llama/index.js'
import { trainedLatents } from '../../src/optimizer/adam-state.js'
import { MomentFile } from '../../src/optimizer/adam-state-file.js'
import { optimize } from '../../src/optimizer/optimizer.js'
import { Optimizer, Parameter } from '../../src/optimizer/parameter.js'
import { bytesOf, checkpointBytesOf } from '../../src/plan/memory.js'
import { methodWithin, planRun } from '../../src/plan/plan.js'
import type { PlanOptions } from '../../src/plan/plan-options.js'
import { Random } from '../../src/random.js'
import { openSource } from '../../src/student/source.js'
import type { TrainReport } from '../../src/train/report.js'
import { train } from '../../src/train/train.js'
import { speedsOf } from '../support/block-seconds.js'
import { compiled } from '../support/compiled.js'
import { host } from '../support/device.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'
import { wordText } from '../support/word-text.js'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-moments-'))
  process.env.QUENCH_CACHE = join(folder, 'cache')
  await writeTinyGguf(join(folder, 'model.gguf'), { layers: 12, width: 64, heads: 2, feedForward: 64 })
  await writeFile(join(folder, 'text.txt'), wordText(3000))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

/** A matrix in Q2_K, one that is not rounded, and a norm: runs of 16 weights, of one scale, and of a whole tensor. */
function parameters(): Parameter[] {
  const random = new Random(1)
  const values = (n: number): Float32Array => Float32Array.from({ length: n }, () => random.normal())
  const format = formatNamed('Q2_K')!
  const w = values(1024)
  const codes = format.decode(quantizeRows(format.type, w, 256))
  return [
    Parameter.quantized(cpu, 'a', [4, 256], format, w, codes),
    Parameter.plain(cpu, 'b', [3, 52], values(156)),
    Parameter.plain(cpu, 'c', [72], values(72)),
  ]
}

async function steps(optimizer: Optimizer, own: readonly Parameter[]): Promise<void> {
  for (let number = 1; number <= 3; number++) {
    const random = new Random(number)
    for (const { gradient } of own)
      cpu.write(
        gradient.values,
        Float32Array.from({ length: gradient.values.length }, () => random.normal()),
      )
    await optimize(own, optimizer, { weightRate: 0.02, scaleRate: 0.01 }, { tokens: 1, clip: 1e9, number })
  }
}

describe('steps', () => {
  it.each([16, 48, 1000])('are those in memory bit for bit, in pieces of %i', async (most) => {
    const [plain, filed] = [parameters(), parameters()]
    const [inMemory, onDisk] = [new Optimizer(), new Optimizer()]
    const path = join(folder, `file-${most}`, 'moments')
    const file = await MomentFile.create(path, filed, most)
    onDisk.moments = file
    await steps(inMemory, plain)
    await steps(onDisk, filed)
    for (const [i, p] of plain.entries())
      for (const of of trainedLatents(p)) {
        expect(host(filed[i].latents[of.key].values)).toEqual(host(p.latents[of.key].values))
        const own = { p: filed[i], key: of.key }
        const pieces = file.pieces(own)
        expect(pieces.every(([start, end]) => end > start && end - start <= Math.max(most, 1))).toBe(true)
        for (const which of ['first', 'second'] as const)
          for (const piece of pieces)
            expect(await file.get(own, which, piece)).toEqual(host(p.moments[of.key][which]).slice(...piece))
      }
    expect(host(plain[0].moments.w.first).some((x) => x !== 0)).toBe(true)
    await inMemory.dispose()
    await onDisk.dispose()
    expect(existsSync(path)).toBe(false)
  })
})

const small = { tokens: 2048, context: 64, batch: 128, validation: 256 }
const options = { type: 'Q4_0', ...small, calibration: 256, steps: 8 }
const run = (output: string, more: Partial<TrainOptions> = {}): Promise<TrainReport> => {
  const [input, data] = [join(folder, 'model.gguf'), [join(folder, 'text.txt')]]
  return train({ input, output: join(folder, output), data, embeddings: 'yes', ...options, ...more })
}

/** Memory in which all but the moments fits. */
async function tight(): Promise<number> {
  const source = await openSource(join(folder, 'model.gguf'))
  await source.gguf.close()
  const sizes = { batch: 128, calibration: 256, validation: 7680, importance: 15_360, trial: 960 }
  const distill = trainingOf('distill') as Training
  const least = ['solving in memory', { weightBytes: distill.weightBytesOnDisk as number }] as const
  const needed = least.map((stage) => bytesOf(stage, source, sizes))
  const memory = Math.ceil(Math.max(...needed)) + 1
  expect(memory).toBeLessThan(bytesOf(distill, source, sizes))
  return memory
}

describe('runs', () => {
  it('end with the same file as in memory, also when they were stopped', async () => {
    const memory = await tight()
    const whole = await run('memory.gguf')
    const disk = await run('disk.gguf', { memory })
    expect([whole.plan.momentBytes, whole.stages.length]).toEqual([0, 2])
    expect(disk.plan.momentBytes).toBeGreaterThan(8 * disk.weights.trained)
    expect(disk.plan.stages[1].bytes).toBeLessThanOrEqual(memory)
    const file = await readFile(whole.path)
    expect((await readFile(disk.path)).equals(file)).toBe(true)

    const stop = new AbortController()
    const onProgress: TrainOptions['onProgress'] = (e) => e.stage === 'train' && e.done === 5 && stop.abort()
    await expect(run('stopped.gguf', { memory, signal: stop.signal, onProgress })).rejects.toThrow('--resume')
    expect(await readdir(join(folder, 'stopped.gguf.blocks'))).not.toContain('moments')
    // What was on disk goes on in memory, since a checkpoint says nothing of where its moments were.
    const stopped = await run('stopped.gguf', { resume: true })
    expect((await readFile(stopped.path)).equals(file)).toBe(true)
    expect((await readdir(folder)).filter((name) => /blocks|checkpoint/.test(name))).toEqual([])
  })

  it('end with the same file when they were killed', async () => {
    const memory = await tight()
    const output = join(folder, 'killed.gguf')
    const numbers = Object.entries(options).flatMap(([key, value]) => [`--${key}`, `${value}`])
    const args = ['train', join(folder, 'model.gguf'), '-o', output, '-d', join(folder, 'text.txt')]
    const more = ['--train-embeddings', 'yes', '--memory', `${memory / 1e6}MB`, '--checkpoint-every', '0']
    const child = spawn(process.execPath, [compiled('cli/main.js'), ...args, ...numbers, ...more], {
      stdio: 'ignore',
    })
    const ended = new Promise((resolve) => child.once('close', (_, signal) => resolve(signal)))
    // Killed in the midst of a step, after some have been saved.
    const checkpoint = `${output}.checkpoint`
    let [saves, last] = [0, 0]
    while (saves < 4 && child.exitCode === null) {
      await new Promise((resolve) => setTimeout(resolve, 2))
      const time = statSync(checkpoint, { throwIfNoEntry: false })?.mtimeMs ?? 0
      if (time !== last) saves++
      last = time
    }
    child.kill('SIGKILL')
    expect(await ended).toBe('SIGKILL')
    expect(existsSync(`${output}.blocks/moments`)).toBe(true)
    const report = await run('killed.gguf', { memory, resume: true })
    expect(report.plan.momentBytes).toBeGreaterThan(0)
    const file = await readFile(join(folder, 'memory.gguf'))
    expect((await readFile(output)).equals(file)).toBe(true)
  })
})

describe('the plan', () => {
  it('puts them on disk where memory is short, and names what does with less where the disk is too small', async () => {
    const source = await openSource(join(folder, 'model.gguf'))
    await source.gguf.close()
    const options: PlanOptions = {
      backend: cpu,
      method: 'auto',
      memory: await tight(),
      batch: 128,
      calibration: 256,
      validation: 7680,
      importance: 15_360,
      trial: 960,
      steps: 10,
      seconds: undefined,
      text: 2048,
      length: 64,
      topK: 0,
      speeds: speedsOf({ forward: 0.001 }),
    }
    const plan = await planRun(source, options)
    expect(plan.method).toBe('distill')
    expect(plan.diskBytes).toBe(plan.blockBytes + plan.checkpointBytes + plan.momentBytes)
    const scales = plan.blockBytes + checkpointBytesOf(source, 'scales', new Set(plan.untrained))
    expect(scales).toBeLessThan(plan.diskBytes)
    const within = (disk: number) => methodWithin(disk, source, options, plan)
    expect(within(Math.ceil(scales))).toBe('scales')
    expect(within(Math.ceil(plan.blockBytes))).toBe('blockwise')
    expect(within(plan.blockBytes - 1)).toBeUndefined()
  })
})
