/** From the name of a repository with safetensors to a trained file, in one command. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { openGguf } from '../../src/gguf/index.js'
import { writeCheckpoint } from '../support/checkpoints.js'
import { startHub } from '../support/hub.js'
import { quenchWith, type Ran } from '../support/quench.js'
import { byteLevelBpe } from '../support/tokenizer-files.js'
import { scratchFolder } from '../unit/gguf-bytes.js'

const folder = scratchFolder()
const hub = await startHub()
const made = join(folder, 'tiny')
const words = readFileSync(
  fileURLToPath(new URL('../../models/quench-5m.test.txt', import.meta.url)),
  'utf8',
).slice(0, 20_000)
writeCheckpoint(made, { family: 'llama', tokenizer: byteLevelBpe(words, 'llama-bpe'), shards: 2 })
const files = Object.fromEntries(readdirSync(made).map((name) => [name, readFileSync(join(made, name))]))
const small = Object.keys(files).filter((name) => !name.endsWith('.safetensors'))
hub.repositories.set('org/tiny', { files: { ...files, 'pytorch_model.bin': Buffer.from('no') }, small })

const env = {
  HF_ENDPOINT: hub.endpoint,
  HF_HOME: join(folder, 'hf'),
  HF_TOKEN: '',
  QUENCH_CACHE: join(folder, 'cache'),
}
const quench = (...args: string[]): Promise<Ran> => quenchWith(env, ...args)

const inspected = async (path: string) => JSON.parse((await quench('inspect', path, '--json')).stdout)

test('train takes the name of a checkpoint, from nothing to a file', async () => {
  const out = join(folder, 'out.gguf')
  const little = '--steps 1 --calibration 0 -c 64 --batch 64 --tokens 512 --validation 512'.split(' ')
  const trained = await quench('train', 'hf:org/tiny', '--type', 'Q4_0', '-o', out, ...little)
  expect(trained.stderr).toMatch(/^quench: downloading hf:org\/tiny \(\d+ files, /)
  expect(trained.stderr).toMatch(
    /quench: converting the checkpoint .* to BF16; the file is kept in the cache/,
  )
  expect(trained.code).toBe(0)
  const gguf = await openGguf(out)
  expect(gguf.metadata.string('general.architecture')).toBe('llama')
  await gguf.close()
  expect(hub.sent.has('pytorch_model.bin')).toBe(false)

  // The second command finds the conversion, and nothing is fetched again.
  hub.sent.clear()
  const quantized = await quench('quantize', 'org/tiny', 'Q8_0', '-o', join(folder, 'q8.gguf'))
  expect(quantized).toMatchObject({ code: 0, stderr: '' })
  expect(hub.sent.size).toBe(0)
  expect(readdirSync(join(folder, 'cache/converted')).filter((name) => !name.startsWith('.'))).toHaveLength(1)
  const own = join(folder, 'own.gguf')
  expect(await quench('convert', 'org/tiny', '-o', own, '--progress', 'none')).toMatchObject({
    code: 0,
    stderr: '',
  })
  expect(hub.sent.size).toBe(0)
  const { metadata } = await inspected(own)
  expect(metadata).toMatchObject({ 'general.name': 'Tiny', 'general.organization': 'Org' })
  expect(metadata).not.toHaveProperty('general.finetune')
  const listed = JSON.parse((await quench('cache', '--json')).stdout)
  const converted = listed.entries.filter(({ kind }: { kind: string }) => kind === 'converted')
  expect(converted).toMatchObject([{ files: 1 }])
  expect((await quench('cache', 'clear')).code).toBe(0)
  expect(existsSync(join(folder, 'cache/converted'))).toBe(false)
})

test('inspect shows a checkpoint by its headers, here and far away alike', async () => {
  const env2 = { ...env, HF_HOME: join(folder, 'inspected') }
  hub.sent.clear()
  const far = await quenchWith(env2, 'inspect', 'hf:org/tiny', '--json', '--tensors')
  expect(far).toMatchObject({ code: 0, stderr: '' })
  expect(hub.sent.has('tokenizer.json')).toBe(false)
  expect(existsSync(env2.HF_HOME)).toBe(false)
  const near = await quench('inspect', made, '--json', '--tensors')
  expect(near).toMatchObject({ code: 0, stderr: '' })
  const [a, b] = [far, near].map(({ stdout }) => JSON.parse(stdout))
  const bytes = Object.entries(files)
    .filter(([name]) => name.endsWith('.safetensors'))
    .reduce((sum, [, { length }]) => sum + length, 0)
  expect(a).toMatchObject({ architecture: 'llama', type: 'BF16', bitsPerWeight: 16, bytes, problems: [] })
  expect(a.files).toHaveLength(2)
  expect(a.metadata).toMatchObject({
    hidden_size: 64,
    architectures: { length: 1, first: ['LlamaForCausalLM'] },
  })
  expect(a.tensors).toContainEqual({
    name: 'model.layers.0.mlp.down_proj.weight',
    shape: [96, 64],
    type: 'BF16',
    bytes: 2 * 96 * 64,
  })
  const whole = { path: '', files: [] }
  expect({ ...a, ...whole }).toEqual({ ...b, ...whole })
  // As people read it.
  expect((await quench('inspect', made)).stdout).toMatch(/^quantization +BF16$/m)
})

test('what is wrong with a checkpoint far away: said, or one sentence', async () => {
  const other = (config: object) => ({
    files: { ...files, 'config.json': Buffer.from(JSON.stringify(config)) },
    small: ['config.json'],
  })
  hub.repositories.set('org/other', other({ architectures: ['MambaForCausalLM'], model_type: 'mamba' }))
  const { stdout, code } = await quench('inspect', 'hf:org/other', '--json')
  expect(code).toBe(0)
  const found = JSON.parse(stdout)
  expect(found.architecture).toBe('mamba')
  expect(found.problems).toEqual([expect.stringContaining("names the class 'MambaForCausalLM'")])
  hub.repositories.set('org/page', {
    files: { ...files, 'config.json': Buffer.from('<html>') },
    small: ['config.json'],
  })
  expect(await quench('inspect', 'hf:org/page')).toEqual({
    code: 1,
    stdout: '',
    stderr: expect.stringMatching(/^quench: hf:org\/page:config\.json: is not valid JSON; .*\n$/),
  })
  const cut = Buffer.alloc(64)
  cut.writeBigUInt64LE(2n ** 62n)
  hub.repositories.set('org/cut', {
    files: { 'config.json': files['config.json'], 'model.safetensors': cut },
  })
  expect(await quench('inspect', 'hf:org/cut')).toEqual({
    code: 1,
    stdout: '',
    stderr: expect.stringMatching(/^quench: hf:org\/cut:model\.safetensors: is no safetensors file.*\n$/),
  })
})
