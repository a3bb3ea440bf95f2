/** What inspection says of files that cannot be used, and of a file type that is not what the tensors are. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { formatOf, formats } from '../../src/formats/table.js'
import { suitsTypes } from '../../src/gguf/file-types.js'
import type { GgufValue } from '../../src/gguf/index.js'
import { inspectFile } from '../../src/gguf/inspect.js'
import { contradiction } from '../../src/gguf/summary.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'
import { stringValue, uint32Value, withMetadata } from '../support/with-metadata.js'

let folder: string
let sound: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-problems-'))
  sound = join(folder, 'sound.gguf')
  await writeTinyGguf(sound)
})
afterAll(() => rm(folder, { recursive: true }))

async function inspect(change: Record<string, GgufValue>) {
  const path = join(folder, 'changed.gguf')
  await withMetadata(sound, path, change)
  return inspectFile(path)
}

test('a sound file has no problems', async () => {
  expect((await inspect({})).problems).toEqual([])
})

test.each<[string, Record<string, GgufValue>, string]>([
  [
    'alignment',
    { 'general.alignment': { type: 'int32', value: 32 } },
    'general.alignment is an int32, not a uint32',
  ],
  ['file type', { 'general.file_type': stringValue('F16') }, 'general.file_type is a string, not a uint32'],
  [
    'projector',
    { 'general.architecture': stringValue('clip') },
    'it is a projector of images or sound (mmproj)',
  ],
  ['control vector', { 'general.architecture': stringValue('controlvector') }, 'it is a control vector'],
  ['blocks', { 'llama.block_count': uint32Value(0) }, 'llama.block_count is 0, not 1 to 512'],
  [
    'name that is a number',
    { 'general.name': uint32Value(7), 'general.type': stringValue('adapter') },
    'it is an adapter',
  ],
])('%s: the file is shown with a remark', async (_, change, problem) => {
  const { problems, parameters } = await inspect(change)
  expect(problems).toHaveLength(1)
  expect(problems[0]).toContain(problem)
  expect(parameters).toBeGreaterThan(0)
})

test('a file type that the tensors contradict is said with theirs', async () => {
  expect((await inspect({ 'general.file_type': uint32Value(15) })).type).toBe('F32 (says Q4_K_M)')
  expect((await inspect({ 'general.file_type': uint32Value(0) })).type).toBe('F32')
  expect((await inspect({ 'general.file_type': stringValue('F16') })).type).toBe('F32')
  expect((await inspect({ 'general.file_type': uint32Value(9999) })).type).toBe('F32')
})

test('a sentence about such a file', () => {
  const path = 'a.gguf'
  expect(contradiction({ path, type: 'F16 (says Q4_K_M)' })).toBe(
    'a.gguf: general.file_type says Q4_K_M, and its tensors are F16',
  )
  expect(contradiction({ path, type: 'F16' })).toBeUndefined()
})

test.each<[string, string[], boolean]>([
  ['Q4_K_M', ['Q4_K', 'Q6_K', 'F32'], true],
  ['Q4_K_M', ['Q5_0', 'Q8_0', 'F32'], true], // rows that 256 does not divide
  ['Q4_K_M', ['F16', 'F32'], false],
  ['IQ3_XS', ['IQ3_XXS', 'IQ3_S', 'Q4_K'], true],
  ['IQ2_M', ['IQ4_NL'], true],
  ['MXFP4_MOE', ['MXFP4', 'Q8_0'], true],
  ['Q8_0', ['Q4_0', 'F32'], false],
  ['F16', ['F16', 'F32'], true],
  ['F16', ['Q4_0', 'F16'], false],
  ['F32', [], true],
])('%s of %j: %j', (type, types, suits) => {
  expect(suitsTypes(type, types)).toBe(suits)
})

test.each(formats.filter(({ smaller }) => smaller !== undefined))(
  'a file of $name may hold nothing but what takes its place',
  ({ name, smaller }) => expect(suitsTypes(name, [formatOf(smaller as number)?.name as string])).toBe(true),
)
