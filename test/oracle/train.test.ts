/** Training end to end on a tiny model: step 0 is PTQ, what is written is what was trained, a stopped run goes on. */

import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { cpu } from '../../src/backends/cpu/cpu.js'
import type { TrainOptions } from '../../src/config/options.js'
import { LlamaContext, LlamaModel, quantizeModel } from '../../src/llama/index.js'
import { Random } from '../../src/random.js'
import { checkpointPath } from '../../src/resume/checkpoint.js'
import { trainedParameters } from '../../src/student/export.js'
import { openSource, targetTypes } from '../../src/student/source.js'
import { makeStudent } from '../../src/student/student.js'
import type { TrainReport } from '../../src/train/report.js'
import { train } from '../../src/train/train.js'
import { opponentData, tensorData } from '../support/stock.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'
import { wordText } from '../support/word-text.js'

let folder: string
let input: string
let text: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-train-'))
  process.env.QUENCH_CACHE = join(folder, 'cache')
  input = join(folder, 'model.gguf')
  await writeTinyGguf(input, { layers: 2, width: 256, heads: 4, headsKV: 2, feedForward: 256 })
  text = join(folder, 'text.txt')
  await writeFile(text, wordText(4000))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const small = { tokens: 2048, context: 64, batch: 128, validation: 256 }
const optionsOf = (more: Partial<TrainOptions>) => ({
  ...{ input, output: '', type: 'Q4_0', data: [text], ...small },
  ...more,
  context: more.context ?? small.context,
  batch: more.batch ?? small.batch,
})
const run = (output: string, more: Partial<TrainOptions>): Promise<TrainReport> =>
  train({ ...optionsOf(more), output: join(folder, output) })

/** Whether two files hold the same, tensor by tensor. */
function expectSame(ours: ReadonlyMap<string, Buffer>, theirs: ReadonlyMap<string, Buffer>): void {
  expect([...ours.keys()].sort()).toEqual([...theirs.keys()].sort())
  for (const [name, bytes] of theirs) expect(ours.get(name)?.equals(bytes), name).toBe(true)
}

describe('step 0 is PTQ', () => {
  it.each([
    ...['Q8_0', 'Q6_K', 'Q5_K_M', 'Q4_K_M', 'Q4_0', 'Q3_K_M', 'Q2_K'],
    ...['IQ4_XS', 'Q2_0', 'TQ1_0', 'Q1_0'],
  ])(
    "%s: the codes of parameters are the reference quantizer's, with importances and without",
    async (type) => {
      const source = await openSource(input)
      const types = targetTypes(source, { type })
      const random = new Random(7)
      const squares = Array.from(source.gguf.tensors, ({ name, shape }): [string, Float32Array] => [
        name,
        Float32Array.from({ length: shape[0] }, () => random.normal() ** 2),
      ])
      const weighed = new Map(squares.filter(([name]) => /^blk.*(attn_|ffn_)(?!norm)/.test(name)))
      for (const importance of [undefined, weighed]) {
        const { parameters } = await makeStudent(cpu, source, types, new Set(), importance)
        const check = { tensors: 0, weights: 0, differing: 0 }
        const bytesOf = trainedParameters(parameters, check)
        const reference = join(folder, `reference-${type}.gguf`)
        await quantizeModel(input, reference, { type, ...(importance && { importance }) })
        const theirs = await tensorData(reference)
        for (const p of parameters) {
          await p.round()
          const bytes = await bytesOf(p.name)
          expect(theirs.get(p.name)?.equals(bytes as Uint8Array), p.name).toBe(true)
        }
        expect(parameters).toHaveLength(theirs.size)
        expect(check.tensors).toBeGreaterThan(14)
        expect(check.differing).toBe(0)
      }
      await source.gguf.close()
    },
  )

  it('a run of no steps writes the better of the files of the reference quantizer', async () => {
    for (const [type, opponent] of [
      ['Q8_0', 'plain'], // takes no importances
      ['Q3_K_M', 'importance'],
    ] as const) {
      const report = await run(`zero-${type}.gguf`, { type, steps: 0 })
      expect(report).toMatchObject({ written: 'ptq', opponent, stages: [], steps: 0 })
      const theirs = await opponentData(optionsOf({ type }), report, join(folder, 'opponent.gguf'))
      expectSame(await tensorData(report.path), theirs)
      for (const { gain, file, opponent: best } of report.kinds) {
        expect(gain).toEqual({ mean: 0, se: 0 })
        expect(file).toEqual(best)
      }
    }
  })
})

describe('training', () => {
  it('lowers the divergence on held-out text, and libllama loads the file', async () => {
    const report = await run('trained.gguf', { type: 'Q2_K', steps: 30 })
    expect(report.written).toBe('qat')
    expect(report.recovered).toBeGreaterThan(0.1)
    expect(report.check.differing).toBe(0)
    expect(report.check.weights).toBeGreaterThan(900_000)
    const model = await LlamaModel.load(report.path)
    const context = await LlamaContext.create(model, { contextSize: 16 })
    await context.decode(model.tokenize('the sea'))
    expect(context.logits().every(Number.isFinite)).toBe(true)
    context.dispose()
    model.dispose()
  })

  it('writes the opponent and says so when training does harm', async () => {
    const harm = { steps: 4, weightRate: 3, scaleRate: 0, calibration: 0 }
    const report = await run('harmed.gguf', harm)
    expect(report.written).toBe('ptq')
    expect(report.stages.map(({ stage, taken }) => [stage, taken])).toEqual([['distill', false]])
    expect(report.kinds.map(({ gain }) => gain)).toEqual(report.kinds.map(() => ({ mean: 0, se: 0 })))
    const theirs = await opponentData(optionsOf(harm), report, join(folder, 'opponent-harmed.gguf'))
    expectSame(await tensorData(report.path), theirs)
  })

  it('writes its own text, and whether it is in the cache already makes no difference', async () => {
    const cache = join(folder, 'cache')
    const parts = async (): Promise<string[]> =>
      (await readdir(cache, { recursive: true }).catch(() => [])).filter((name) => name.endsWith('.tokens'))
    const files: Buffer[] = []
    const reports: TrainReport[] = []
    await rm(cache, { recursive: true, force: true })
    // Windows of 16: the text has two parts.
    const own = { data: [], selfWritten: 1, steps: 2, context: 16, tokens: 5120, calibration: 256 }
    for (const before of [0, 2, 1]) {
      if (before === 1) await rm(join(cache, (await parts())[0]))
      expect(await parts()).toHaveLength(before)
      const report = await run(`self-${before}.gguf`, own)
      files.push(await readFile(report.path))
      reports.push(report)
    }
    expect(reports[0].textTokens).toMatchObject({ files: 0, general: 0, selfWritten: 5120 })
    expect(reports.map(({ plan: { tokens, calibration } }) => [tokens, calibration])).toEqual(
      Array.from({ length: 3 }, () => [5120, 256]),
    )
    expect(files[1].equals(files[0])).toBe(true)
    expect(files[2].equals(files[0])).toBe(true)
  })

  it('takes half of its own text and general text for the rest where it is told nothing', async () => {
    const { textTokens } = await run('default.gguf', { data: [], steps: 0 })
    expect(textTokens).toMatchObject({ files: 0, general: 1024, selfWritten: 1024 })
  })
})

describe('a run that is stopped', () => {
  it('is not started anew by accident, and not resumed with other settings', async () => {
    const output = 'stopped.gguf'
    const stop = new AbortController()
    const options = { steps: 20, signal: stop.signal }
    await expect(
      run(output, { ...options, onProgress: (e) => e.stage === 'train' && e.done === 3 && stop.abort() }),
    ).rejects.toThrow('--resume goes on')
    expect(await readdir(folder)).toContain('stopped.gguf.checkpoint')
    await expect(run(output, { steps: 20 })).rejects.toThrow(checkpointPath(output))
    await expect(run(output, { steps: 21, resume: true })).rejects.toThrow('--steps 20, now --steps 21')
    const report = await run(output, { steps: 20, resume: true })
    expect(report.steps).toBe(20)
    expect(await readdir(folder)).not.toContain('stopped.gguf.checkpoint')
  })
})

describe('wrong use', () => {
  it('names the option or the file', async () => {
    await expect(run('x.gguf', { type: 'MXFP4_MOE' })).rejects.toThrow(
      '--type MXFP4_MOE cannot be trained; choose one of',
    )
    await expect(run('x.gguf', { type: 'F16' })).rejects.toThrow('--type F16 cannot be trained')
    await expect(run('x.gguf', { context: 4096 })).rejects.toThrow(
      "--context 4096 is not from 8 to the model's 1024",
    )
    await expect(run('x.gguf', { data: [join(folder, 'none.txt')] })).rejects.toThrow('none.txt')
    await expect(run(join('no-folder', 'x.gguf'), { steps: 1 })).rejects.toThrow('no-folder')
  })
})
