/** `quench imatrix` and the options of `quench quantize`, as a person types them. */
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { quench } from '../support/quench.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'
import { wordText } from '../support/word-text.js'

let folder: string
let at: (name: string) => string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-'))
  at = (name) => join(folder, name)
  await writeTinyGguf(at('m-f32.gguf'), { width: 256, feedForward: 256, layers: 1 })
  await writeFile(at('text.txt'), wordText(1500))
})
afterAll(() => rm(folder, { recursive: true }))

test('a matrix is made beside the model, and the model quantized with it', async () => {
  const made = await quench('imatrix', at('m-f32.gguf'), '-d', at('text.txt'), '-c', '64', '--tokens', '640')
  expect(made).toMatchObject({ code: 0, stderr: '' })
  expect(made.stdout).toMatch(
    /^.*\/m\.imatrix\.gguf: importances of 7 matrices from 640 tokens, 10 windows of 64\nwritten in \d+\.\d s\n$/,
  )
  const again = await quench('imatrix', at('m-f32.gguf'), '-d', at('text.txt'))
  expect(again).toMatchObject({ code: 2, stdout: '' })
  expect(again.stderr).toMatch(
    /^quench: .*m\.imatrix\.gguf exists already; name another output with --output/,
  )

  const options = [
    '--imatrix',
    at('m.imatrix.gguf'),
    '--tensor-type',
    'ffn_up=q8_0',
    '--pure',
    '--leave-output-tensor',
  ]
  const planned = await quench('quantize', '--dry-run', ...options, at('m-f32.gguf'), 'Q2_K_S', '--json')
  expect(planned).toMatchObject({ code: 0, stderr: '' })
  const plan = JSON.parse(planned.stdout)
  expect(plan.tensors.find(({ name }: { name: string }) => name === 'blk.0.ffn_up.weight')).toMatchObject({
    from: 'F32',
    to: 'Q8_0',
    shape: [256, 256],
  })
  expect((await readdir(folder)).toSorted()).toEqual(['m-f32.gguf', 'm.imatrix.gguf', 'text.txt'])
  const ran = await quench('quantize', ...options, at('m-f32.gguf'), at('q.gguf'), 'Q2_K_S', '1')
  expect(ran).toMatchObject({ code: 0, stderr: '' })
  expect((await stat(at('q.gguf'))).size).toBe(plan.bytes)
  expect((await readFile(at('q.gguf'))).includes('quantize.imatrix.chunks_count')).toBe(true)
})

test('a quantized model is named as such', async () => {
  const args = ['imatrix', at('q.gguf'), '-d', at('text.txt'), '-c', '64', '--tokens', '128']
  const { code, stderr } = await quench(...args, '-o', at('of-q.gguf'))
  expect(code).toBe(0)
  expect(stderr).toMatch(/q\.gguf is quantized \(.*\); a matrix of the full-precision model says more$/m)
})

test('a name that ends with .dat is said to be a GGUF file all the same', async () => {
  const args = ['imatrix', at('m-f32.gguf'), '-d', at('text.txt'), '-c', '64', '--tokens', '128']
  const { code, stderr } = await quench(...args, '-o', at('m.dat'))
  expect(code).toBe(0)
  expect(stderr).toMatch(
    /m\.dat will be a GGUF file, whatever its name; a name that ends with \.gguf says so$/m,
  )
})

test('a dry run lists the tensors, and what is missing', async () => {
  const ran = await quench('quantize', '--dry-run', at('m-f32.gguf'), 'IQ2_XXS')
  expect(ran).toMatchObject({ code: 0, stderr: '' })
  expect(ran.stdout).toMatch(/^tensor +shape +from +to +size +remark\n/)
  expect(ran.stdout).toMatch(
    /\nblk\.0\.attn_q\.weight +256 x 256 +F32 +IQ2_XXS +\d+\.\d kB +needs an importance matrix\n/,
  )
  expect(ran.stdout).toMatch(
    /\n\n.*m-f32\.gguf as IQ2_XXS: \d+ kB \(\d+ bytes\), \d+\.\d{3} bits per weight; nothing was written\n$/,
  )
})

test('what is wrong is told in one line', async () => {
  const model = at('m-f32.gguf')
  await writeFile(at('damaged.dat'), 'no matrix')
  for (const [args, code, problem] of [
    [['quantize', model, 'IQ2_XXS'], 1, /IQ2_XXS needs an importance matrix: .*`quench imatrix`.*--imatrix/],
    [['quantize', model, 'Q4_0', '--imatrix', at('none')], 1, /none: no such file/],
    [
      ['quantize', model, 'Q4_0', '--imatrix', at('damaged.dat')],
      1,
      /damaged\.dat: it is not an importance matrix/,
    ],
    [['quantize', model, 'Q4_0', '--imatrix', model], 1, /m-f32\.gguf: it is not an importance matrix/],
    [['quantize', model, 'Q4_0', '--tensor-type', 'attn_q'], 2, /--tensor-type.*as in attn_v=q8_0/],
    [['quantize', model, 'Q4_0', '--tensor-type', 'attn_q=q9'], 2, /Q9 is no type that tensors can be/],
    [['quantize', model, 'Q4_0', '--tensor-type', '(=q8_0'], 2, /"\(" is not a regular expression/],
    [['quantize', model, 'Q4_0', '--output-tensor-type', 'q4_k_m'], 2, /Q4_K_M is no type that tensors/],
    [['imatrix', model, '-d', at('none'), '-o', at('x')], 1, /none: no such file/],
    [['imatrix', model, '-d', at('text.txt'), '-o', model], 2, /would overwrite .* \(the input\)/],
    [['imatrix', model, '-d', at('text.txt'), '-o', at('x'), '--resume'], 2, /has nothing to resume/],
    [['imatrix', at('text.txt'), '-o', at('x')], 1, /text\.txt: this is not a GGUF file/],
  ] as const) {
    const ran = await quench(...args)
    expect(ran.stderr).toMatch(/^quench: .+\n$/)
    expect(ran.stderr).toMatch(problem)
    expect(ran).toMatchObject({ code, stdout: '' })
  }
})
