/** What is given back when native work fails in the middle, and what is told of it. */
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { cpu } from '../../src/backends/cpu/cpu.js'
import { Programs } from '../../src/backends/programs.js'
import { FileError } from '../../src/errors.js'
import { openGguf } from '../../src/gguf/index.js'
import { add, input } from '../../src/graph/index.js'
import { LlamaContext, LlamaModel } from '../../src/llama/index.js'
import { library } from '../../src/llama/library.js'
import { callAsync, type Fn } from '../../src/llama/native.js'
import { train } from '../../src/train/train.js'
import { device, host } from '../support/device.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'
import { wordText } from '../support/word-text.js'

// The plan comes upon the first of the tensors below.
vi.unmock('../../src/plan/probe.js')

let folder: string
let model: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-cleanup-'))
  model = join(folder, 'tiny.gguf')
  await writeTinyGguf(model, { width: 256, feedForward: 256 })
})
afterAll(() => rm(folder, { recursive: true }))

test('programs: one that cannot be compiled leaves the others to be freed, and is tried again', async () => {
  const programs = new Programs()
  const graph = () => {
    const x = input([2])
    return { inputs: { x }, outputs: { y: add(x, x) } }
  }
  const program = await programs.get('good', () => cpu.compile(graph(), true))
  const failing = () => Promise.reject(new Error('no'))
  await expect(programs.get('bad', failing)).rejects.toThrow('no')
  await expect(programs.get('bad', failing)).rejects.toThrow('no')
  const { y } = await (await programs.get('bad', () => cpu.compile(graph(), true))).run({
    x: device(Float32Array.of(1, 2)),
  })
  expect(host(y)).toEqual(Float32Array.of(2, 4))
  const late = programs.get('late', failing)
  const freed = vi.spyOn(program, 'dispose')
  await programs.dispose()
  await expect(late).rejects.toThrow('no')
  expect(freed).toHaveBeenCalledOnce()
  await programs.dispose()
  expect(freed).toHaveBeenCalledOnce()
})

test('a call that cannot begin is not under way', async () => {
  const listeners = process.listenerCount('exit')
  const wrong = { async: () => expect.unreachable() } as unknown as Fn<[], number>
  wrong.async = () => {
    throw new TypeError('an argument')
  }
  await expect(callAsync(wrong)).rejects.toThrow('an argument')
  expect(process.listenerCount('exit')).toBe(listeners)
})

test('a context that cannot be made lets go of its model', async () => {
  const loaded = await LlamaModel.load(model)
  const free = vi.spyOn(loaded.handle as unknown as { free: () => void }, 'free')
  const during = vi.spyOn(library().log, 'during').mockRejectedValueOnce(new Error('stopped'))
  await expect(LlamaContext.create(loaded, { contextSize: 64 })).rejects.toThrow('stopped')
  during.mockRestore()
  loaded.dispose()
  expect(free).toHaveBeenCalledOnce()
})

describe('work that fails within a tensor', () => {
  /** The model with one number in all of a tensor; a large one in a norm makes what follows it too large for second moments in f32. */
  async function withTensor(name: string, value: number): Promise<string> {
    const path = join(folder, `${name}.gguf`)
    await writeTinyGguf(path, { width: 256, feedForward: 256 })
    const gguf = await openGguf(path)
    const { offset, bytes } = gguf.tensor(name)
    await gguf.close()
    const handle = await open(path, 'r+')
    await handle.write(new Float32Array(bytes / 4).fill(value), 0, bytes, offset)
    await handle.close()
    return path
  }

  test.each([
    ['blk.0.ffn_norm.weight', 1e20, /: blk\.0\.ffn_gate\.weight, blk\.0\.ffn_up\.weight: the second moments/],
    [
      'blk.1.ffn_norm.weight',
      8e17,
      /: blk\.1\.ffn_(gate|up|down)\.weight: it holds weights that are too large for Q4_0/,
    ],
    ['blk.1.ffn_up.weight', 1e20, /: blk\.1\.ffn_up\.weight: it holds weights that are too large for Q4_0/],
  ])('%s of %d: file and tensors are named', async (name, value, message) => {
    const path = await withTensor(name, value)
    const text = join(folder, 'text.txt')
    await writeFile(text, wordText(8000))
    const setting = {
      tokens: 4096,
      context: 64,
      batch: 128,
      calibration: 2048,
      validation: 128,
      method: 'blockwise' as const,
    }
    const error = await train({
      ...{ input: path, output: `${path}.out`, type: 'Q4_0', data: [text], ...setting },
      checkpointEvery: 0,
    }).catch((e: unknown) => e)
    expect(error).toBeInstanceOf(FileError)
    expect((error as Error).message).toMatch(new RegExp(`^${path}`))
    expect((error as Error).message).toMatch(message)
  })
})
