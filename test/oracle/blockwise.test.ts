/** The block-wise stage and training of scales: what they win, what they hold in memory, and that killed runs go on. */

import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { cpu } from '../../src/backends/cpu/cpu.js'
import type { TrainOptions } from '../../src/config/options.js'
import { formatOf } from '../../src/formats/table.js'
import { openGguf } from '../../src/gguf/index.js'
import { LlamaModel } from '../../src/llama/index.js'
import { llama } from '../../src/models/llama.js'
import { bytesOf } from '../../src/plan/memory.js'
import { planRun } from '../../src/plan/plan.js'
import type { TrainReport } from '../../src/train/report.js'
import { train } from '../../src/train/train.js'
import { slowSpeeds } from '../support/block-seconds.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'
import { wordText } from '../support/word-text.js'

let folder: string
let input: string
let text: string
/** Memory in which a block fits, but not the whole student. */
let little: number
const small = { tokens: 2048, context: 64, batch: 128, calibration: 1024, validation: 256 }

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-blockwise-'))
  process.env.QUENCH_CACHE = join(folder, 'cache')
  input = join(folder, 'model.gguf')
  await writeTinyGguf(input, { layers: 2, width: 256, heads: 4, headsKV: 2, feedForward: 256 })
  text = join(folder, 'text.txt')
  await writeFile(text, wordText(8000))
  const gguf = await openGguf(input)
  const model = { architecture: llama, config: await llama.read(gguf) }
  await gguf.close()
  const plan = { ...planned, memory: 0 }
  const [streamed, whole] = [
    bytesOf('solving one block at a time', model, plan),
    bytesOf('solving in memory', model, plan),
  ]
  little = Math.ceil((streamed + whole) / 2)
  expect(streamed).toBeLessThan(whole)
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const planned = {
  backend: cpu,
  method: 'auto' as const,
  batch: 128,
  calibration: 1024,
  // Four windows of each kind, and one that decides.
  validation: 1280,
  importance: 1280,
  trial: 320,
  steps: 0,
  seconds: undefined,
  ...{ text: 4096, length: 64, topK: undefined },
  speeds: slowSpeeds,
}

const run = (output: string, more: Partial<TrainOptions>): Promise<TrainReport> =>
  train({ input, output: join(folder, output), type: 'Q2_K', data: [text], ...small, ...more })

/** The codes of every quantized tensor of the blocks. */
async function blockCodes(path: string): Promise<Map<string, Float32Array>> {
  const gguf = await openGguf(path)
  const codes = new Map<string, Float32Array>()
  for (const tensor of gguf.tensors) {
    const format = formatOf(tensor.type)
    if (format?.grid && tensor.name.startsWith('blk.'))
      codes.set(tensor.name, format.decode(await gguf.read(tensor)).q)
  }
  await gguf.close()
  return codes
}

/** The bytes of every tensor, by name. */
async function tensorsOf(output: string): Promise<Map<string, Uint8Array>> {
  const gguf = await openGguf(join(folder, output))
  const bytes = new Map<string, Uint8Array>()
  for (const tensor of gguf.tensors) bytes.set(tensor.name, await gguf.read(tensor))
  await gguf.close()
  return bytes
}

/** Starts a run, stops it where `when` says so, goes on, and returns the bytes of the file. */
async function interrupted(
  output: string,
  more: Partial<TrainOptions>,
  when: (done: number) => boolean,
  again: Partial<TrainOptions> = {},
): Promise<Buffer> {
  const stop = new AbortController()
  const onProgress: TrainOptions['onProgress'] = ({ stage, done }) => {
    if (stage === 'blockwise' && when(done)) stop.abort()
  }
  await expect(run(output, { ...more, signal: stop.signal, onProgress })).rejects.toThrow('--resume')
  expect(existsSync(`${join(folder, output)}.blocks`)).toBe(true)
  await expect(run(output, more)).rejects.toThrow('is left of a run that did not end')
  const report = await run(output, { ...more, ...again, resume: true })
  expect(existsSync(`${join(folder, output)}.blocks`)).toBe(false)
  return readFile(report.path)
}

describe('the block-wise method', () => {
  it('wins a good part of the loss, and libllama loads the file', async () => {
    const report = await run('whole.gguf', { method: 'blockwise' })
    expect(report.plan.inMemory).toBe(true)
    expect(report.stages.map(({ stage }) => stage)).toEqual(['blockwise'])
    expect(report.recovered).toBeGreaterThan(0.3)
    expect(report.check.differing).toBe(0)
    const model = await LlamaModel.load(report.path)
    model.dispose()
  })

  it('ends with the same file when it was stopped in a block', async () => {
    const undisturbed = await readFile(join(folder, 'whole.gguf'))
    const again = await interrupted('whole-again.gguf', { method: 'blockwise' }, (done) => done >= 1.5)
    expect(again.equals(undisturbed)).toBe(true)
  })

  it('goes on with what was decided at first, or says what that takes', async () => {
    const output = 'decided.gguf'
    const stop = new AbortController()
    const onProgress: TrainOptions['onProgress'] = ({ stage, done }) => {
      if (stage === 'blockwise' && done >= 1) stop.abort()
    }
    const auto = { method: 'auto', steps: 1 } as const
    await expect(run(output, { ...auto, signal: stop.signal, onProgress })).rejects.toThrow('--resume')
    const again = (more: Partial<TrainOptions>): Promise<TrainReport> =>
      run(output, { ...auto, ...more, resume: true })
    await expect(again({ memory: little })).rejects.toThrow(/^(?=.*takes about)(?=.*allowed)/)
    await expect(again({ method: 'scales' })).rejects.toThrow('--method distill, now --method scales')
    await expect(again({ calibration: 512 })).rejects.toThrow('--calibration 1024, now --calibration 512')
    for (const damage of ['', '{"method":"distill"', '{"method":"distill","tokens":-1}', 'null']) {
      await writeFile(join(folder, `${output}.blocks`, 'decisions.json'), damage)
      await expect(again({})).rejects.toThrow(/decisions\.json: is damaged or of another version; delete it/)
    }
    await rm(`${join(folder, output)}.blocks`, { recursive: true })
  })

  it('works with one block in memory, where the model does not fit', async () => {
    const report = await run('streamed.gguf', { memory: little })
    expect(report.plan).toMatchObject({ inMemory: false, method: 'blockwise', memory: little })
    expect(report.recovered).toBeGreaterThan(0.25)
    expect(report.check.differing).toBe(0)
    expect(report.check.tensors).toBeGreaterThan(13)
    const model = await LlamaModel.load(report.path)
    model.dispose()
    const undisturbed = await readFile(report.path)
    // With more memory it goes on as it began.
    const wide = { memory: 8e9 }
    const again = await interrupted('streamed-again.gguf', { memory: little }, (done) => done >= 1, wide)
    expect(again.equals(undisturbed)).toBe(true)
  })

  it('carries streams through files where they do not fit either, to the same result', async () => {
    const gguf = await openGguf(input)
    const model = { architecture: llama, config: await llama.read(gguf) }
    await gguf.close()
    const memory = Math.ceil(bytesOf('solving one block at a time', model, { ...planned, memory: 0 })) + 1
    const report = await run('spilled.gguf', { memory })
    expect(report.plan.spillBytes).toBeGreaterThan(0)
    const streamed = await readFile(join(folder, 'streamed.gguf'))
    expect((await readFile(report.path)).equals(streamed)).toBe(true)
  })
})

describe('training of scales', () => {
  it('leaves the codes of the blocks as they are and lowers the divergence', async () => {
    const report = await run('scales.gguf', { method: 'scales', steps: 20, scaleRate: 0.002 })
    expect(report.stages.map(({ stage }) => stage)).toEqual(['blockwise', 'scales'])
    expect(report.stages[1].kld.mean).toBeLessThan(report.stages[0].kld.mean)
    expect(report.check.differing).toBe(0)
    const [before, after] = [await blockCodes(join(folder, 'whole.gguf')), await blockCodes(report.path)]
    expect(after).toEqual(before)
  })

  it('is undone where validation is no better for it: what was solved for is written', async () => {
    const report = await run('worse.gguf', { method: 'scales', steps: 4, scaleRate: 0.5 })
    expect(report.stages.map(({ stage, taken }) => [stage, taken])).toEqual([
      ['blockwise', true],
      ['scales', false],
    ])
    expect(report.stages[1].kld.mean).toBeGreaterThan(report.stages[0].kld.mean)
    const { stages, recovered } = report
    expect(report.kinds.at(-1)).toMatchObject({ kind: 'your text', apart: true })
    const kinds = report.kinds.slice(0, -1)
    const mean = (of: (kind: (typeof kinds)[number]) => number): number =>
      kinds.reduce((sum, kind) => sum + of(kind), 0) / kinds.length
    expect(stages[0].kld.mean).toBeCloseTo(
      mean(({ file }) => file.mean),
      12,
    )
    expect(recovered).toBeCloseTo(
      mean(({ file, stock }) => 1 - file.mean / stock.mean),
      12,
    )
    expect(report.check.differing).toBe(0)
    const [solved, written] = await Promise.all(['whole.gguf', 'worse.gguf'].map(tensorsOf))
    expect(written).toEqual(solved)
    const gguf = await openGguf(report.path)
    expect(gguf.metadata.get('quench.steps')?.value).toBe(0)
    expect(gguf.metadata.string('quench.method')).toBe('blockwise')
    await gguf.close()
  })
})

describe('the plan', () => {
  const model = async () => {
    const gguf = await openGguf(input)
    const config = await llama.read(gguf)
    await gguf.close()
    return { architecture: llama, config }
  }

  it('takes the most that fits', async () => {
    const tight = await planRun(await model(), { ...planned, memory: little })
    const wide = await planRun(await model(), { ...planned, memory: 8e9 })
    expect([tight.method, tight.inMemory, wide.method, wide.inMemory]).toEqual([
      'blockwise',
      false,
      'distill',
      true,
    ])
    for (const { bytes } of [...tight.stages, ...wide.stages]) expect(bytes).toBeGreaterThan(1e8)
    expect(tight.stages.every(({ bytes }) => bytes <= little)).toBe(true)
  })

  it('spends a time in which few steps fit on the start alone', async () => {
    const timed = {
      ...planned,
      memory: 8e9,
      steps: undefined,
      adjustable: new Set(['tokens', 'calibration'] as const),
    }
    const long = await planRun(await model(), { ...timed, seconds: 3600 })
    const short = await planRun(await model(), { ...timed, seconds: 10 })
    expect([long.method, short.method]).toEqual(['distill', 'blockwise'])
    expect(short.stages.map(({ stage }) => stage)).toEqual(['blockwise'])
    expect(short.inMemory).toBe(true)
    expect([long.tokens, short.tokens]).toEqual([planned.text, planned.calibration])
    const asked = await planRun(await model(), { ...timed, seconds: 10, method: 'distill' })
    expect(asked.method).toBe('distill')
  })

  it('says where tokens are few for the widest matrices, and what enough of them would take', async () => {
    const options = { ...planned, memory: 8e9 }
    const widest = Math.max(
      ...Object.values(llama.blockTensors((await model()).config, 0)).map(([, n]) => n ?? 0),
    )
    const few = await planRun(await model(), { ...options, calibration: 4 * widest })
    expect(few.few).toMatchObject({
      inputs: widest,
      tokens: Math.ceil((8 * widest) / planned.batch) * planned.batch,
    })
    expect(few.few?.seconds).toBeGreaterThan(few.stages[0].seconds)
    const enough = await planRun(await model(), { ...options, calibration: 8 * widest + planned.batch })
    expect(enough.few).toBeUndefined()
  })

  it('refuses what does not fit and says what does', async () => {
    await expect(run('no.gguf', { memory: 1e6 })).rejects.toThrow(
      /takes about .* GB of memory and 0.0 GB are allowed/,
    )
    await expect(run('no.gguf', { memory: little, method: 'distill' })).rejects.toThrow(
      '--method blockwise fits',
    )
    expect(existsSync(join(folder, 'no.gguf'))).toBe(false)
  })
})
