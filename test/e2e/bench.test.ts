/** `quench bench` as a person types it. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createGguf, Metadata, openGguf } from '../../src/gguf/index.js'
import { inspectFile } from '../../src/gguf/inspect.js'
import { quantizeModel } from '../../src/llama/index.js'
import { jsonError, quench } from '../support/quench.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'

let folder: string
let model: string
let q4: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-'))
  model = join(folder, 'tiny.gguf')
  q4 = join(folder, 'tiny-q4.gguf')
  await writeTinyGguf(model)
  await quantizeModel(model, q4, { type: 'Q4_0' })
})
afterAll(() => rm(folder, { recursive: true }))

const few = ['--prompt', '16', '--generate', '4', '-r', '2', '--threads', '1']

test('files, lengths and depths; a draft', async () => {
  const { code, stdout, stderr } = await quench(
    'bench',
    ...[model, q4, ...few, '--depth', '0,20', '--draft', q4, '--draft-tokens', '2', '--json'],
  )
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  const { machine, settings, files } = JSON.parse(stdout)
  expect(machine.cores).toBeGreaterThan(0)
  expect(settings).toEqual({ repetitions: 2, threads: 1, kvType: 'f16', gpuLayers: 0 })
  expect(files.map((file: { path: string }) => file.path)).toEqual([model, q4])
  for (const file of files) {
    expect(file.tests).toHaveLength(4)
    for (const { tokensPerSecond } of file.tests) {
      expect(tokensPerSecond.samples).toHaveLength(2)
      expect(tokensPerSecond.low).toBeGreaterThan(0)
    }
    expect(file.memory.weightsBytes).toBeGreaterThan(0)
    expect(file.memory.kvBytes).toBeGreaterThan(0)
    expect(file.draft).toMatchObject({ path: q4, guesses: 2, prompts: 4, tokensPerPrompt: 4, identical: 4 })
  }
  expect(files[1].draft.acceptance).toBe(1) // a file is its own best draft
})

test('a test beyond the context that the model was trained for is remarked on, once', async () => {
  const context = (await inspectFile(q4)).context ?? 0
  const args = ['-p', String(context + 1), '-n', '0', '-r', '2', '-t', '1', '--json']
  const { code, stderr } = await quench('bench', q4, ...args)
  expect(code).toBe(0)
  expect(stderr.match(/context is \d+ tokens, and a test takes \d+/g)).toEqual([
    `context is ${context} tokens, and a test takes ${context + 1}`,
  ])
})

test('a table, Markdown and CSV', async () => {
  const typed = (...args: string[]) => quench('bench', q4, ...few, ...args)
  expect((await typed()).stdout).toMatch(
    /^file +size +load ms +pp16 +tg4 +tokens\/s per GB\ntiny-q4 +[\d.]+ kB/,
  )
  expect((await typed('--markdown')).stdout).toMatch(
    /^\| file \| size \|.*\n\|---\|---:\|.*\n\| tiny-q4 \| [\d.]+ kB \|/,
  )
  expect((await typed('--csv')).stdout.split('\n')).toHaveLength(4)
})

/** The model with other metadata. */
async function changed(path: string, change: (metadata: Metadata) => void): Promise<void> {
  const gguf = await openGguf(model)
  const metadata = new Metadata(path, gguf.metadata)
  change(metadata)
  const writer = await createGguf(path, { metadata, tensors: gguf.tensors })
  for (const tensor of gguf.tensors) await writer.write(tensor.name, await gguf.read(tensor))
  await writer.finish()
  await gguf.close()
}

test('what is wrong is told in one line', async () => {
  const text = join(folder, 'text.txt')
  await writeFile(text, 'no model')
  const [other, assistant] = [join(folder, 'other.gguf'), join(folder, 'assistant.gguf')]
  await changed(other, (metadata) => {
    const tokens = metadata.strings('tokenizer.ggml.tokens').with(5, 'zzz')
    metadata.set('tokenizer.ggml.tokens', { type: 'array', itemType: 'string', value: tokens })
  })
  await changed(assistant, (metadata) => {
    metadata.set('general.architecture', { type: 'string', value: 'gemma4-assistant' })
  })
  for (const [args, code, problem] of [
    [[], 2, /missing required argument 'files'/],
    [[join(folder, 'none.gguf')], 1, /none\.gguf: no such file/],
    [[text], 1, /text\.txt: this is not a GGUF file/],
    [[q4, '--prompt', '1,x'], 2, /--prompt.*whole number/],
    [[q4, '--prompt', '0', '--generate', '0'], 2, /nothing to run/],
    [[q4, '--json', '--csv'], 2, /exclude each other/],
    [[q4, '--data', text], 2, /--data needs --draft/],
    [[q4, '--kv-type', 'q9'], 2, /--kv-type.*"q9" is not one of f32, f16/],
    [[q4, '--gpu-layers', '4294967296'], 2, /--gpu-layers.*whole number from 0, or all/],
    [[q4, '--draft', other], 1, /other\.gguf: token 5 of its vocabulary.*same vocabulary/],
    [[q4, '--draft', assistant], 1, /assistant\.gguf: a draft of architecture gemma4-assistant reads/],
  ] as const) {
    const ran = await quench('bench', ...args)
    expect(ran.stderr).toMatch(/^quench: .+\n$/)
    expect(ran.stderr).toMatch(problem)
    const stdout = args.some((arg) => arg === '--json') ? jsonError(ran.stderr.slice(8, -1), code) : ''
    expect(ran).toMatchObject({ code, stdout })
  }
})
