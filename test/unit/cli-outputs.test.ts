/** Names of outputs that nobody named, and what `quantize` takes as llama-quantize does. */
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { nameBeside, newName } from '../../src/cli/output-name.js'
import { positional } from '../../src/cli/positional.js'

test.each([
  ['model-f16.gguf', 'model-Q4_0.gguf'],
  ['a/b/model-F16.gguf', 'a/b/model-Q4_0.gguf'],
  ['/m/model.bf16.gguf', '/m/model-Q4_0.gguf'],
  ['model_f32.gguf', 'model-Q4_0.gguf'],
  ['model-fp16.GGUF', 'model-Q4_0.gguf'],
  ['model-f16-00001-of-00003.gguf', 'model-Q4_0.gguf'],
  ['model.gguf', 'model-Q4_0.gguf'],
  ['model', 'model-Q4_0.gguf'],
  ['f16.gguf', 'f16-Q4_0.gguf'],
  ['gf16.gguf', 'gf16-Q4_0.gguf'],
  ['model-f16-chat.gguf', 'model-f16-chat-Q4_0.gguf'],
])('%s becomes %s', (input, output) => expect(nameBeside(input, 'Q4_0')).toBe(output))

test('a file that exists, or a link of its name, is not to be replaced', () => {
  const folder = mkdtempSync(join(tmpdir(), 'quench-'))
  const input = join(folder, 'm-f16.gguf')
  try {
    expect(newName(input, 'Q4_0')).toBe(join(folder, 'm-Q4_0.gguf'))
    writeFileSync(join(folder, 'm-Q4_0.gguf'), '')
    symlinkSync('nowhere', join(folder, 'm-Q8_0.gguf'))
    for (const type of ['Q4_0', 'Q8_0'])
      expect(() => newName(input, type)).toThrow(
        `m-${type}.gguf exists already; name another output with --output`,
      )
  } finally {
    rmSync(folder, { recursive: true })
  }
})

describe('quantize INPUT', () => {
  test.each([
    ['q4_k', {}, { type: 'Q4_K_M' }],
    ['15', {}, { type: 'Q4_K_M' }],
    ['out.gguf Q8_0', {}, { type: 'Q8_0', output: 'out.gguf' }],
    ['out.gguf q8_0 3', {}, { type: 'Q8_0', output: 'out.gguf', threads: 3 }],
    ['Q8_0 3', {}, { type: 'Q8_0', threads: 3 }],
    ['Q8_0 3', { threads: 2, output: 'x' }, { type: 'Q8_0', threads: 2, output: 'x' }],
    ['', { type: 'Q4_0' }, { type: 'Q4_0' }],
    ['out.gguf', { type: 'Q4_0' }, { type: 'Q4_0', output: 'out.gguf' }],
    ['Q8_0', { type: 'Q4_0' }, { type: 'Q4_0', output: 'Q8_0' }],
  ])('%s with %j', (typed, options, asked) => {
    expect(positional('quantize', typed.split(' ').filter(Boolean), options)).toEqual(asked)
  })

  test.each([
    ['', {}, 'the type is missing'],
    ['out.gguf', {}, '"out.gguf" is not a file type; name one such as Q4_K_M after it'],
    ['Q5K', {}, '"Q5K" is not a file type; did you mean Q5_K_M?'],
    ['out.gguf Q4_0 2 3', {}, '"3" is one argument too many'],
    ['a Q4_0', { type: 'Q4_0' }, '"Q4_0" is one argument too many'],
    ['a Q4_0', { output: 'b' }, 'the output is given twice'],
    ['a Q4_0 many', {}, '"many" is no number of threads'],
    ['a Q4_0 0', {}, '"0" is no number of threads'],
  ])('%s with %j is refused', (typed, options, problem) => {
    expect(() => positional('quantize', typed.split(' ').filter(Boolean), options)).toThrow(problem)
  })
})
