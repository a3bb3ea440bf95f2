/** `quench inspect` and what all commands share, as a person types it. */
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createGguf, Metadata } from '../../src/gguf/index.js'
import { Random } from '../../src/random.js'
import { conventions, onGrid as toGrid } from '../support/lattice-conventions.js'
import { jsonError, quench } from '../support/quench.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'

let folder: string
let model: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-'))
  model = join(folder, 'tiny.gguf')
  await writeTinyGguf(model)
})
afterAll(() => rm(folder, { recursive: true }))

test('inspect', async () => {
  const { code, stdout, stderr } = await quench('inspect', model, '--tensors')
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toMatch(new RegExp(`^file +${model}$`, 'm'))
  expect(stdout).toMatch(/^name +tiny$/m)
  expect(stdout).toMatch(/^architecture +llama$/m)
  expect(stdout).toMatch(/^context +1024$/m)
  expect(stdout).toMatch(/^vocabulary +271$/m)
  expect(stdout).toMatch(/^quantization +F32$/m)
  expect(stdout).toMatch(/^bits per weight +32\.000$/m)
  expect(stdout).toMatch(/^llama\.attention\.layer_norm_rms_epsilon +0\.00001$/m)
  expect(stdout).toMatch(/^tokenizer\.ggml\.merges +14 string: "Ġ t", .*\.\.\.$/m)
  expect(stdout).toMatch(/^blk\.1\.ffn_down\.weight +128 x 64 +F32 +32\.8 kB$/m)
})

test('inspect --json is one document', async () => {
  const { code, stdout } = await quench('inspect', model, '--json')
  expect(code).toBe(0)
  const found = JSON.parse(stdout)
  expect(found).toMatchObject({
    path: model,
    files: [model],
    name: 'tiny',
    architecture: 'llama',
    type: 'F32',
    bitsPerWeight: 32,
    context: 1024,
    vocabulary: 271,
    quantized: false,
    types: [{ type: 'F32', tensors: 21 }],
    metadata: { 'tokenizer.ggml.add_bos_token': true },
  })
  expect(found.tensors).toBeUndefined()
  const { stdout: listed } = await quench('inspect', model, '--json', '--tensors')
  expect(JSON.parse(listed).tensors).toHaveLength(21)
})

test('inspect tells of weights on a grid', async () => {
  const onGrid = join(folder, 'grid.gguf')
  const random = new Random(1)
  const weights = Float32Array.from({ length: 64 * 64 }, () => random.normal())
  const { values } = toGrid(conventions[0], weights, 64, 'F32')
  const matrices = { 'blk.0.ffn_up.weight': values, 'blk.0.ffn_down.weight': weights }
  const writer = await createGguf(onGrid, {
    metadata: new Metadata(onGrid).set('general.architecture', { type: 'string', value: 'llama' }),
    tensors: Object.keys(matrices).map((name) => ({ name, shape: [64, 64], type: 0 })),
  })
  for (const [name, { buffer }] of Object.entries(matrices)) await writer.write(name, new Uint8Array(buffer))
  await writer.finish()
  const grid = 'levels -7 to 7 in groups of 32, step absmax/7, stored as F32'
  const { code, stdout } = await quench('inspect', onGrid, '--tensors')
  expect(code).toBe(0)
  expect(stdout).toMatch(/^on a grid +1 of 2 matrices \(50\.0 % of their weights\): levels -7 to 7/m)
  expect(stdout).toMatch(/^blk\.0\.ffn_up\.weight .* Q4_0$/m)
  const { stdout: json } = await quench('inspect', onGrid, '--json')
  const grids = [{ grid, type: 'Q4_0', matrices: 1, weights: 4096 }]
  expect(JSON.parse(json).lattice).toEqual({ matrices: 2, weights: 8192, grids })
})

test('help and version', async () => {
  const version = JSON.parse(await readFile('package.json', 'utf8')).version
  expect(await quench('--version')).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' })
  const { code, stdout } = await quench('--help')
  expect(code).toBe(0)
  for (const command of ['inspect', 'quantize', 'eval']) expect(stdout).toContain(command)
  expect((await quench('inspect', '--help')).stdout).toMatch(/Examples?:\n {2}quench inspect/)
  const nothing = await quench()
  expect(nothing).toMatchObject({ code: 2, stdout: '' })
  expect(nothing.stderr).toMatch(/Usage: quench/)
})

test('wrong files are told in one line, exit 1', async () => {
  const other = join(folder, 'other.gguf')
  await writeFile(other, 'hello there')
  const short = join(folder, 'short.gguf')
  await writeFile(short, (await readFile(model)).subarray(0, 50_000))
  for (const [file, problem] of [
    [join(folder, 'none.gguf'), /no such file/],
    [other, /not a GGUF file/],
    [short, /truncated/],
    [folder, /it has several models; name one after a colon/],
  ] as const) {
    const { code, stdout, stderr } = await quench('inspect', file, '--json')
    expect(stderr).toMatch(/^quench: .+\n$/)
    expect({ code, stdout }).toEqual({ code: 1, stdout: jsonError(stderr.slice(8, -1), 1) })
    expect(stderr).toMatch(problem)
    expect(stderr).toContain(file)
  }
})

test('wrong usage is told in one line, exit 2', async () => {
  for (const [args, problem] of [
    [['inspect', model, '--tensor'], /unknown option '--tensor' \(Did you mean --tensors\?\)/],
    [['inspct', model], /unknown command 'inspct' \(Did you mean inspect\?\)/],
    [['inspect'], /missing required argument 'file'/],
    [['inspect', model, model], /too many arguments/],
  ] as const) {
    const { code, stdout, stderr } = await quench(...args)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(/^quench: .+\n$/)
    expect(stderr).toMatch(problem)
  }
})

test('inspect --verify says whether a file is what it says', async () => {
  const made = join(folder, 'tiny-q8_0.gguf')
  expect((await quench('quantize', model, 'Q8_0', '-o', made)).code).toBe(0)
  const shown = await quench('inspect', made)
  expect(shown.stdout).toMatch(/^made with quench \S+, quantize: --type Q8_0$/m)
  expect(shown.stdout).toMatch(/^ {2}from tiny\.gguf$/m)
  const { code, stdout } = await quench('inspect', made, '--verify')
  expect({ code, end: stdout.split('\n').at(-2) }).toEqual({ code: 0, end: `${made} is what it says` })
  const moved = join(folder, 'moved', 'tiny-q8_0.gguf')
  await mkdir(join(folder, 'moved'))
  await copyFile(made, moved)
  const alone = await quench('inspect', moved, '--verify')
  expect({ code: alone.code, end: alone.stdout.split('\n').at(-2) }).toEqual({
    code: 0,
    end: `${moved} has the tensors that were written; what it was made from was not at hand to be checked`,
  })
  const bytes = await readFile(made)
  bytes[bytes.length - 1] ^= 1
  await writeFile(made, bytes)
  const damaged = await quench('inspect', made, '--verify', '--json')
  expect(damaged.code).toBe(1)
  expect(JSON.parse(damaged.stdout)).toMatchObject({
    ok: false,
    data: { state: 'damaged' },
    sources: [{ role: 'model', name: 'tiny.gguf', state: 'same', found: model }],
  })
  expect((await quench('inspect', model, '--verify')).stderr).toMatch(/no record of how it was made/)
  expect((await quench('inspect', model, '--source', made)).code).toBe(2)
})
