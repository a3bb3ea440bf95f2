/** `quench quantize` as a person types it. */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { openGguf } from '../../src/gguf/index.js'
import { summarizeFile } from '../../src/gguf/summary.js'
import { quantizeModel } from '../../src/llama/index.js'
import { readWeights } from '../../src/models/weights.js'
import { provenanceKeys } from '../../src/provenance/record.js'
import { compareGguf } from '../support/compare-gguf.js'
import { quench } from '../support/quench.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'

let folder: string
let out: string
let model: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-'))
  model = join(folder, 'tiny.gguf')
  await writeTinyGguf(model)
})
beforeEach(async () => {
  out = await mkdtemp(join(folder, 'out-'))
})
afterAll(() => rm(folder, { recursive: true }))

test('writes what libllama writes and how it was made, and replaces a file that is there', async () => {
  const expected = join(folder, 'expected.gguf')
  await quantizeModel(model, expected, { type: 'Q4_0' })
  const output = join(out, 'q4.gguf')
  await writeFile(output, 'an old file')
  const { code, stdout, stderr } = await quench('quantize', model, '--type', 'q4_0', '-o', output)
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toMatch(/tiny\.gguf +F32 +\d+ kB +32\.000\n/)
  expect(stdout).toMatch(
    /q4\.gguf +Q4_0 +\d+(\.\d)? kB +5\.\d+\n1 tensor fell back .*output\.weight to Q8_0.*\nwritten in \d+\.\d s\n$/,
  )
  const differences = await compareGguf(output, expected)
  expect(differences.map((line) => line.replace(/:.*/s, '')).sort()).toEqual([...provenanceKeys].sort())
  expect(await readdir(out)).toEqual(['q4.gguf'])
})

test('tensors that fell back to other types are told', async () => {
  const { stdout } = await quench('quantize', model, 'Q4_K_M', '-o', join(out, 'k.gguf'))
  expect(stdout).toMatch(
    /\n\d+ tensors fell back to other types, such as \S+ to Q\d_\d, since blocks of Q\d_K do not divide its rows of \d+; --dry-run shows/,
  )
})

test('--method search writes a file of the same size whose weights are nearer', async () => {
  const [plain, searched] = [join(out, 'plain.gguf'), join(out, 'searched.gguf')]
  await quantizeModel(model, plain, { type: 'Q2_0' })
  const { code } = await quench('quantize', model, 'Q2_0', '--method', 'search', '-o', searched)
  expect(code).toBe(0)
  expect((await summarizeFile(searched)).bitsPerWeight).toBe((await summarizeFile(plain)).bitsPerWeight)
  const name = 'blk.0.attn_q.weight'
  const weightsOf = async (path: string) => {
    const gguf = await openGguf(path)
    try {
      return await readWeights(gguf, gguf.tensor(name))
    } finally {
      await gguf.close()
    }
  }
  const [full, before, after] = [await weightsOf(model), await weightsOf(plain), await weightsOf(searched)]
  const error = (of: Float32Array) => of.reduce((sum, w, i) => sum + (w - full[i]) ** 2, 0)
  expect(error(after)).toBeLessThan(0.6 * error(before))

  const refused = await quench('quantize', model, 'IQ2_M', '--method', 'search', '-o', searched)
  expect(refused.code).toBe(2)
  expect(refused.stderr).toMatch(/^quench: --method search has nothing to search for with IQ2_M; .*\n$/)
})

test('--json, and quantizing what is quantized', async () => {
  const q8 = join(out, 'q8.gguf')
  const { code, stdout } = await quench('quantize', model, '-t', 'Q8_0', '-o', q8, '--threads', '1', '--json')
  expect(code).toBe(0)
  const result = JSON.parse(stdout)
  expect(result).toMatchObject({ path: q8, type: 'Q8_0', input: { path: model, type: 'F32' } })
  expect(result.bytes).toBe((await readFile(q8)).length)

  const q4 = join(out, 'q4.gguf')
  const refused = await quench('quantize', q8, '-t', 'Q4_0', '-o', q4)
  expect(refused).toMatchObject({ code: 1, stdout: '' })
  expect(refused.stderr).toMatch(
    /^quench: .*q8\.gguf: it is quantized already \(Q8_0\).*--allow-requantize\n$/,
  )
  expect((await quench('quantize', q8, '-t', 'Q4_0', '-o', q4, '--allow-requantize')).code).toBe(0)
  expect((await readdir(out)).sort()).toEqual(['q4.gguf', 'q8.gguf'])
})

test('what is wrong is told in one line, and nothing is left behind', async () => {
  const output = join(out, 'out.gguf')
  const short = join(folder, 'short.gguf')
  await writeFile(short, (await readFile(model)).subarray(0, 50_000))
  await mkdir(join(folder, 'place'))
  const wide = join(folder, 'wide.gguf')
  await writeTinyGguf(wide, { width: 256, feedForward: 256, layers: 1 })
  for (const [args, code, problem] of [
    [[model, '-t', 'Q9_9', '-o', output], 2, /"Q9_9" is not a file type; choose one of .*Q4_K_M/],
    [[model, '-o', output], 2, /the type is missing; name it after the input/],
    [[model], 2, /the type is missing; name it after the input/],
    [[model, output], 2, /out\.gguf" is not a file type; name one such as Q4_K_M after it/],
    [[model, output, 'Q4_0', '2', 'more'], 2, /"more" is one argument too many/],
    [[model, output, 'Q4_0', 'two'], 2, /"two" is no number of threads/],
    [[model, output, 'Q4_0', '-o', output], 2, /the output is given twice/],
    [[model, '-t', 'Q4_0', '-o', output, '--threads', 'two'], 2, /--threads.*whole number/],
    [[model, '-t', 'Q4_0', '-o', output, '--quick'], 2, /unknown option '--quick'/],
    [[model, '-t', 'Q4_0', '-o', model], 2, /would overwrite .* \(the input\)/],
    [[join(folder, 'none.gguf'), '-t', 'Q4_0', '-o', output], 1, /none\.gguf: no such file/],
    [[short, '-t', 'Q4_0', '-o', output], 1, /short\.gguf: .*truncated/],
    [
      [model, '-t', 'Q4_0', '-o', join(out, 'none', 'out.gguf')],
      1,
      /out\.gguf: its folder .*none does not exist; make it first/,
    ],
    [[model, '-t', 'Q4_0', '-o', join(folder, 'place')], 1, /place: this is a folder/],
    [[wide, '-t', 'IQ2_XXS', '-o', output], 1, /wide\.gguf: IQ2_XXS needs an importance matrix/],
  ] as const) {
    const ran = await quench('quantize', ...args)
    expect(ran.stderr).toMatch(/^quench: .+\n$/)
    expect(ran.stderr).toMatch(problem)
    expect(ran).toMatchObject({ code, stdout: '' })
  }
  expect(await readdir(out)).toEqual([])
})
