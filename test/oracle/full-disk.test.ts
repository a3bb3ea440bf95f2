/** A disk that becomes full at any write of a run: one sentence, nothing half-written, nothing lost, and the same file in the end. */

import { existsSync, readdirSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { cpu } from '../../src/backends/cpu/cpu.js'
import type { TrainEvent, TrainOptions } from '../../src/config/options.js'
import { FileError } from '../../src/errors.js'
import { ReferenceWriter } from '../../src/evaluate/references/saved-reference.js'
import { atomicWrite, reserveSpace } from '../../src/files.js'
import { createGguf, Metadata, openGguf } from '../../src/gguf/index.js'
import { llama } from '../../src/models/llama.js'
import { MomentFile } from '../../src/optimizer/adam-state-file.js'
import { Parameter } from '../../src/optimizer/parameter.js'
import { bytesOf } from '../../src/plan/memory.js'
import { checkpointPath } from '../../src/resume/checkpoint.js'
import type { TrainReport } from '../../src/train/report.js'
import { train } from '../../src/train/train.js'
import { slowSpeeds } from '../support/block-seconds.js'
import { type BecomesFull, FullDisk } from '../support/full-disk.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'
import { wordText } from '../support/word-text.js'

const layers = 3
const steps = 6
let folder: string
let input: string
let text: string
let disk: FullDisk
/** Memory in which only a block and no streams fit. */
let little: number

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-full-'))
  process.env.QUENCH_CACHE = join(folder, 'cache')
  input = join(folder, 'model.gguf')
  await writeTinyGguf(input, { layers, width: 64, heads: 2, headsKV: 1, feedForward: 64 })
  text = join(folder, 'text.txt')
  await writeFile(text, wordText(8000))
  const gguf = await openGguf(input)
  const model = { architecture: llama, config: await llama.read(gguf) }
  await gguf.close()
  const speeds = slowSpeeds
  // Four windows of each kind, and one that decides.
  const tokens = { batch: 256, calibration: 512, validation: 640, trial: 160 }
  const plan = { method: 'auto', memory: 0, ...tokens } as const
  little =
    Math.ceil(
      bytesOf('solving one block at a time', model, { ...plan, steps: 0, seconds: undefined, speeds }),
    ) + 1
  disk = new FullDisk()
})
afterAll(async () => {
  disk.dispose()
  await rm(folder, { recursive: true, force: true })
})

const run = (output: string, more: Partial<TrainOptions>): Promise<TrainReport> =>
  train({
    input,
    output: join(folder, output),
    type: 'Q4_0',
    data: [text],
    tokens: 1024,
    context: 32,
    batch: 256,
    calibration: 512,
    validation: 128,
    steps,
    ...more,
  })

const undisturbed = new Map<string, Promise<Buffer>>()
/** The file of a run that finds room for everything. */
function expected(kind: string, more: Partial<TrainOptions>): Promise<Buffer> {
  const known = undisturbed.get(kind)
  if (known) return known
  const made = run(`${kind}.gguf`, more).then(({ path }) => readFile(path))
  undisturbed.set(kind, made)
  return made
}

/** Lets the disk become full in a run, goes on when there is room, and returns what the second run still had to do. */
async function filled(
  kind: string,
  more: Partial<TrainOptions>,
  becomesFull: BecomesFull,
): Promise<TrainEvent[]> {
  const whole = await expected(kind, more)
  const name = `${kind}-filled.gguf`
  const output = join(folder, name)
  disk.fillsWhen(becomesFull)
  const error = await run(name, more).then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  disk.makeRoom()
  expect(error).toBeInstanceOf(FileError)
  const { message, exitCode } = error as FileError
  expect(exitCode).toBe(1)
  expect(message.startsWith(folder)).toBe(true)
  expect(message).toMatch(
    /: the disk is full; make room, and the same command with --resume goes on from there$/,
  )
  expect(existsSync(output)).toBe(false)
  const left = (await readdir(folder, { recursive: true })).filter((path) => path.endsWith('.tmp'))
  expect(left).toEqual([])
  const events: TrainEvent[] = []
  const report = await run(name, { ...more, resume: true, onProgress: (event) => events.push(event) })
  expect((await readFile(report.path)).equals(whole)).toBe(true)
  const beside = (await readdir(folder)).filter((path) => path.includes(name))
  expect(beside).toEqual([name])
  await rm(output)
  return events.filter(({ stage }) => stage !== 'measure')
}

const firstOf = (events: readonly TrainEvent[], stage: TrainEvent['stage']): number | undefined =>
  events.find((event) => event.stage === stage)?.done

it('in the text that the model writes', async () => {
  const { QUENCH_CACHE: cache } = process.env
  const more = { data: [], tokens: 1024, steps: 0, calibration: 0 }
  await expected('text', more)
  process.env.QUENCH_CACHE = join(folder, 'other-cache')
  await filled('text', more, (path) => path.includes('.tokens'))
  process.env.QUENCH_CACHE = cache
})

it.each([0, 2])('in block %i, with the whole model in memory', async (block) => {
  const events = await filled('block', {}, (path) => path.includes(`block-${block}.gguf`))
  // Before it is solved, and those that were are not solved again.
  const solved = events.filter(({ stage, done }) => stage === 'blockwise' && done > 0 && done < block)
  expect(solved.every(({ done }) => Number.isInteger(done))).toBe(true)
  expect(events.some(({ stage, done }) => stage === 'blockwise' && done > block)).toBe(true)
})

it('in block 1, with one block in memory', async () => {
  await filled('streamed', { memory: little }, (path) => path.includes('block-1.gguf'))
})

it('in the streams between blocks', async () => {
  await filled('streamed', { memory: little }, (path) => path.includes('teacher-1.stream'))
})

it('in the checkpoint', async () => {
  const events = await filled('block', { checkpointEvery: 0 }, (path) => path.includes('.checkpoint'))
  expect(firstOf(events, 'train')).toBe(1)
})

it.each(['distill', 'scales'] as const)('while %s runs: only the output finds no room', async (method) => {
  let step = 0
  const onProgress = ({ stage, done }: TrainEvent) => {
    if (stage === 'train') step = done
  }
  const more = { method, checkpointEvery: 0, onProgress }
  await expected(method, more)
  step = 0
  const events = await filled(method, more, () => step >= 2)
  expect(step).toBe(steps)
  expect(events).toEqual([])
})

it('at five writes spread over all', async () => {
  const more = { checkpointEvery: 0 }
  await expected('block', more)
  disk.makeRoom()
  await run('count.gguf', more)
  const writes = disk.count
  expect(writes).toBeGreaterThan(20)
  for (let i = 0; i < 5; i++) {
    const due = Math.ceil(((i + 0.5) / 5) * writes)
    await filled('block', more, (_, count) => count >= due)
  }
})

it('keeps the checkpoint before, where there was no room for two', async () => {
  const output = join(folder, 'kept.gguf')
  const stop = new AbortController()
  const onProgress = ({ stage, done }: TrainEvent) => {
    if (stage === 'train' && done === 3) stop.abort()
  }
  await expect(run('kept.gguf', { signal: stop.signal, onProgress })).rejects.toThrow('stopped after step 3')
  const checkpoint = await readFile(checkpointPath(output))
  disk.fillsWhen(() => true)
  await expect(run('kept.gguf', { resume: true })).rejects.toThrow('the disk is full')
  disk.makeRoom()
  expect((await readFile(checkpointPath(output))).equals(checkpoint)).toBe(true)
  const { path } = await run('kept.gguf', { resume: true })
  expect((await readFile(path)).equals(await expected('block', {}))).toBe(true)
})

it('while a file is begun: nothing of it stays, neither on the disk nor open', async () => {
  const opened = () => (process.platform === 'linux' ? readdirSync('/proc/self/fd').length : 0)
  const values = new Float32Array(4096)
  const own = [Parameter.plain(cpu, 'norm', [4096], values)]
  const header = {
    model: { path: 'm', sha256: '', type: 'F16', bytes: 1, bitsPerWeight: 16, quantized: false },
    tokenizer: '',
    vocabulary: 300,
    text: '',
    context: 8,
    windows: 1,
    rows: 1,
  }
  const path = join(folder, 'begun')
  const before = opened()
  for (const begin of [
    () => MomentFile.create(path, own),
    () => ReferenceWriter.create(path, header),
    () => atomicWrite(path, 'text'),
    () => reserveSpace(path, 1000),
    () => createGguf(path, { metadata: new Metadata(path), tensors: [] }),
  ]) {
    disk.fillsWhen(() => true)
    await expect(begin()).rejects.toThrow(/begun: the disk is full/)
    disk.makeRoom()
    expect((await readdir(folder)).filter((name) => name.includes('begun'))).toEqual([])
    expect(opened()).toBe(before)
  }
})
