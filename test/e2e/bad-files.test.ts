/** Commands that take several files do their work on the good ones, name the bad ones in a line each, and fail. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openGguf } from '../../src/gguf/index.js'
import { quantizeFile } from '../../src/quantize/ptq.js'
import { quench } from '../support/quench.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'
import { withMetadata } from '../support/with-metadata.js'

let folder: string
const path = (name: string): string => join(folder, `${name}.gguf`)

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-bad-files-'))
  await writeTinyGguf(path('model'))
  await quantizeFile(path('model'), path('good'), 'Q8_0')
  const gguf = await openGguf(path('model'))
  const tokens = gguf.metadata.strings('tokenizer.ggml.tokens')
  await gguf.close()
  await withMetadata(path('model'), path('twice'), {
    'tokenizer.ggml.tokens': { type: 'array', itemType: 'string', value: tokens.with(101, tokens[100]) },
  })
  await withMetadata(path('good'), path('epsilon'), {
    'llama.attention.layer_norm_rms_epsilon': { type: 'float32', value: Number.NaN },
  })
  await writeFile(join(folder, 'text.txt'), 'the cat and the hat of the rest\n'.repeat(60))
})
afterAll(() => rm(folder, { recursive: true }))

/** The model is random, so it predicts worse than a guess, which is warned of. */
const errors = (stderr: string): string[] =>
  stderr
    .trimEnd()
    .split('\n')
    .filter((line) => !line.startsWith('quench: warning: '))

const twice = (command: string) =>
  new RegExp(`^quench: .*${command}\\.gguf: the tokens 100 and 101 of its vocabulary have the same text`)
const epsilon = /^quench: .*epsilon\.gguf: llama\.attention\.layer_norm_rms_epsilon is NaN/

test('bench', async () => {
  const files = ['twice', 'good', 'epsilon'].map(path)
  const { code, stdout, stderr } = await quench('bench', ...files, '-p', '16', '-n', '4', '-r', '1', '--json')
  expect(code).toBe(1)
  const lines = errors(stderr)
  expect(lines).toEqual([expect.stringMatching(twice('twice')), expect.stringMatching(epsilon)])
  const { files: measured, failures } = JSON.parse(stdout)
  expect(measured).toMatchObject([{ path: path('good') }])
  expect(failures).toMatchObject([{ path: path('twice') }, { path: path('epsilon') }])
})

test('eval', async () => {
  const text = ['-d', join(folder, 'text.txt'), '-c', '16', '--tokens', '64']
  const files = ['epsilon', 'good'].map(path)
  const { code, stdout, stderr } = await quench('eval', ...files, '-r', path('model'), ...text, '--json')
  expect({ code, lines: errors(stderr).length }).toEqual({ code: 1, lines: 1 })
  expect(errors(stderr)[0]).toMatch(epsilon)
  const { files: measured, failures } = JSON.parse(stdout)
  expect(measured).toMatchObject([{ path: path('good') }])
  expect(failures).toMatchObject([{ path: path('epsilon') }])
  // The reference is no file to go on without.
  const reference = await quench('eval', path('good'), '-r', path('epsilon'), ...text)
  expect(reference).toMatchObject({ code: 1, stdout: '', stderr: expect.stringMatching(epsilon) })
})

test('quantize', async () => {
  const ran = await quench('quantize', path('twice'), '-t', 'Q4_0', '-o', path('output'))
  expect(ran).toMatchObject({ code: 1, stdout: '', stderr: expect.stringMatching(twice('twice')) })
  expect(ran.stderr.trimEnd()).not.toContain('\n')
})
