/** `quench quantize --method solve` is the first stage of training by itself. */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { solve, solving } from '../../src/cli/quantize/solve.js'
import { blockwise } from '../../src/config/methods.js'
import { train } from '../../src/train/train.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'

let folder: string
let input: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-'))
  input = join(folder, 'model.gguf')
  await writeTinyGguf(input, { layers: 1, width: 64, heads: 2, feedForward: 96 })
})
afterAll(() => rm(folder, { recursive: true }))

test('the file is that of a training without steps, on as much text as is solved on', async () => {
  vi.spyOn(process.stdout, 'write').mockReturnValue(true)
  vi.spyOn(process.stderr, 'write').mockReturnValue(true)
  const [solved, trained] = ['solved', 'trained'].map((name) => join(folder, `${name}.gguf`))
  const options = {
    method: solving,
    calibration: 1024,
    json: true,
    tensorType: [{ pattern: 'attn_v', type: 'Q8_0' }],
  }
  await solve({ name: input, input, beside: input }, { type: 'Q4_0', output: solved }, options)
  vi.restoreAllMocks()
  await train({
    ...{ input, output: trained, type: 'Q4_0', method: blockwise, calibration: 1024, tokens: 1024 },
    tensorTypes: [{ pattern: 'attn_v', type: 'Q8_0' }],
  })
  expect((await readFile(solved)).equals(await readFile(trained))).toBe(true)
})

test('options of other methods are refused', async () => {
  const refused = (options: Record<string, unknown>) =>
    expect(solve({ name: input, input, beside: input }, { type: 'Q4_0' }, { method: solving, ...options }))
      .rejects
  await refused({ keepSplit: true }).toThrow('--keep-split does not go with --method solve')
  await refused({ imatrix: 'im.gguf' }).toThrow('im.gguf: no such file')
})
