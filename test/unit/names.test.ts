/** What the name of a model means, and which file of several is taken. */
import { createHash } from 'node:crypto'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { checkpointFiles } from '../../src/checkpoint/index.js'
import { hubSettings } from '../../src/hub/settings.js'
import { candidatesOf, choose, type Need, typeByName } from '../../src/names/choose.js'
import { parseName } from '../../src/names/parse.js'
import { resolveModel } from '../../src/names/resolve.js'
import { scratchFolder } from './gguf-bytes.js'

const folder = scratchFolder()
const endpoint = 'https://huggingface.co'
const before = process.cwd()
beforeEach(() => process.chdir(folder))
afterEach(() => {
  process.chdir(before)
  vi.unstubAllEnvs()
})

const write = (path: string, text = 'x'): string => {
  const full = join(folder, path)
  mkdirSync(join(full, '..'), { recursive: true })
  writeFileSync(full, text)
  return full
}

describe('spelling', () => {
  const hub = (id: string, revision = 'main', pick?: string) => ({
    kind: 'hub',
    id,
    revision,
    ...(pick && { pick }),
  })
  test.each([
    ['hf:org/model', hub('org/model')],
    ['hf://org/model', hub('org/model')],
    ['hf:gpt2', hub('gpt2')],
    ['hf:org/model:Q4_K_M', hub('org/model', 'main', 'Q4_K_M')],
    ['hf:org/model@v1.0:sub/model-F16.gguf', hub('org/model', 'v1.0', 'sub/model-F16.gguf')],
    ['hf:org/model@refs/pr/1', hub('org/model', 'refs/pr/1')],
    ['org/model', hub('org/model')],
    ['org/model-GGUF:q8_0', hub('org/model-GGUF', 'main', 'q8_0')],
    ['https://huggingface.co/org/model', hub('org/model')],
    ['https://huggingface.co/org/model/', hub('org/model')],
    ['hf.co/org/model:Q8_0', hub('org/model', 'main', 'Q8_0')],
    ['https://huggingface.co/org/model/tree/main', hub('org/model')],
    ['https://huggingface.co/org/model/blob/main/a%20b.gguf', hub('org/model', 'main', 'a b.gguf')],
    [
      'https://huggingface.co/org/model/resolve/v2/sub/m.gguf?download=true',
      hub('org/model', 'v2', 'sub/m.gguf'),
    ],
    ['ollama:gemma3:270m', { kind: 'ollama', name: 'gemma3:270m' }],
    ['lm-studio:org/model:Q8_0', { kind: 'lm-studio', name: 'org/model', pick: 'Q8_0' }],
    // All else is a path, and a path is never looked for on the network.
    ['org/model.gguf', { kind: 'path', path: 'org/model.gguf' }],
    ['org/model:model-F16.gguf', { kind: 'path', path: 'org/model:model-F16.gguf' }],
    ['org/model.GGUF', { kind: 'path', path: 'org/model.GGUF' }],
    ['model', { kind: 'path', path: 'model' }],
    ['./org/model', { kind: 'path', path: './org/model' }],
    ['/org/model', { kind: 'path', path: '/org/model' }],
    ['../org/model', { kind: 'path', path: '../org/model' }],
    ['a/b/c', { kind: 'path', path: 'a/b/c' }],
    ['', { kind: 'path', path: '' }],
    ['a\0b/c', { kind: 'path', path: 'a\0b/c' }],
  ])('%j', (text, expected) => {
    expect(parseName(text, endpoint)).toEqual(expected)
  })

  test('what is here is a path, and so is a name whose first part is a folder here', () => {
    mkdirSync(join(folder, 'models'), { recursive: true })
    write('hf:org')
    expect(parseName('models/tiny', endpoint)).toEqual({ kind: 'path', path: 'models/tiny' })
    expect(parseName('models:Q8_0', endpoint)).toEqual({ kind: 'path', path: 'models', pick: 'Q8_0' })
    expect(parseName('hf:org', endpoint)).toEqual({ kind: 'path', path: 'hf:org' })
    expect(parseName('hf:models/tiny', endpoint).kind).toBe('hub')
  })

  test.each([
    'hf:',
    'hf:a/b/c',
    'hf:../x',
    'hf:a--b/c',
    'hf:org/..',
    'https://example.com/m',
    'hf:org/m:../../x',
    'hf:org/m@../x',
  ])('%s is told to be no name', (text) => {
    expect(() => parseName(text, endpoint)).toThrow(
      /does not name a repository|no address of the Hub|cannot be one/,
    )
  })

  test('HF_ENDPOINT has addresses too', () => {
    const own = 'http://127.0.0.1:9/hub'
    expect(parseName(`${own}/org/model`, own)).toMatchObject({ id: 'org/model' })
  })
})

describe('settings', () => {
  test('follow the variables of other tools', () => {
    write('home/token', 'hf_fromfile\n')
    const home = join(folder, 'home')
    expect(hubSettings({ HF_HOME: home })).toEqual({
      endpoint,
      token: 'hf_fromfile',
      offline: false,
      cache: join(home, 'hub'),
    })
    expect(
      hubSettings({
        HF_HOME: home,
        HF_TOKEN: 'hf_a',
        HF_HUB_CACHE: '/c',
        HF_ENDPOINT: 'http://m/x/',
        HF_HUB_OFFLINE: '1',
      }),
    ).toEqual({ endpoint: 'http://m/x', token: 'hf_a', offline: true, cache: '/c' })
    expect(hubSettings({ HF_HOME: home, HF_HUB_DISABLE_IMPLICIT_TOKEN: '1' }).token).toBeUndefined()
    expect(hubSettings({ XDG_CACHE_HOME: '/x', HF_TOKEN: 'a\r\nb: c' })).toEqual({
      endpoint,
      offline: false,
      cache: '/x/huggingface/hub',
    })
    expect(() => hubSettings({ HF_ENDPOINT: 'ftp://x' })).toThrow(
      'HF_ENDPOINT is ftp://x; it must be an address',
    )
  })
})

describe('types by name', () => {
  test.each([
    ['model-Q4_K_M.gguf', 'Q4_K_M'],
    ['model.q4_k_s.gguf', 'Q4_K_S'],
    ['Model-UD-IQ2_XXS.gguf', 'IQ2_XXS'],
    ['model-fp16.gguf', 'F16'],
    ['model-BF16-00001-of-00002.gguf', 'BF16'],
    ['Q8_0/model-00001-of-00003.gguf', 'Q8_0'],
    ['model-Q4_0-QAT.gguf', 'Q4_0'],
    ['model-Q2_K_L.gguf', undefined],
    ['ggml-model.gguf', undefined],
  ])('%s is %s', (name, type) => expect(typeByName(name)).toBe(type))
})

describe('choice', () => {
  const files = [
    'm-Q4_K_M.gguf',
    'm-Q8_0.gguf',
    'm-F16.gguf',
    'mmproj-m-F16.gguf',
    'm.imatrix.gguf',
    'README.md',
  ]
  const chosen = (paths: string[], need: Need, pick?: string) => {
    const found = choose('hf:o/m', paths, need, pick)
    return found === 'checkpoint' ? found : found.files
  }

  test('full precision for those who need it, Q4_K_M for others, and no projector', () => {
    expect(chosen(files, 'any')).toEqual(['m-Q4_K_M.gguf'])
    expect(chosen(files, 'full-precision')).toEqual(['m-F16.gguf'])
    expect(chosen([...files, 'm-BF16.gguf', 'm-F32.gguf'], 'full-precision')).toEqual(['m-BF16.gguf'])
    expect(chosen(['only.gguf', 'mmproj.gguf'], 'any')).toEqual(['only.gguf'])
    expect(chosen(['only.gguf'], 'full-precision')).toEqual(['only.gguf'])
  })

  test('a type or a file that is named, in any case', () => {
    expect(chosen(files, 'full-precision', 'q8_0')).toEqual(['m-Q8_0.gguf'])
    expect(chosen(files, 'any', 'm-q8_0.gguf')).toEqual(['m-Q8_0.gguf'])
    expect(chosen(['a/x-Q8_0.gguf', 'b/x-Q8_0.gguf'], 'any', 'b/x-Q8_0.gguf')).toEqual(['b/x-Q8_0.gguf'])
    expect(() => chosen(files, 'any', 'Q2_K')).toThrow('hf:o/m: it has no Q2_K; it has F16, Q4_K_M, Q8_0')
    expect(() => chosen(files, 'any', 'mmproj-m-F16.gguf')).toThrow('is not a language model by its name')
  })

  test('split files are one model, with all their parts', () => {
    const parts = ['m-F16-00001-of-00002.gguf', 'm-F16-00002-of-00002.gguf', 'm-Q8_0.gguf']
    expect(chosen(parts, 'full-precision')).toEqual(parts.slice(0, 2))
    expect(chosen(parts, 'any', 'm-F16-00002-of-00002.gguf')).toEqual(parts.slice(0, 2))
    expect(candidatesOf(parts)).toHaveLength(2)
    expect(() => chosen(parts.slice(1), 'full-precision')).toThrow('is one of 2 parts, and 1 are there')
  })

  test('several that could be meant are listed', () => {
    expect(() => chosen(['m-Q8_0.gguf', 'm-Q5_0.gguf'], 'any')).toThrow(
      'hf:o/m: it has several models; name one after a colon, by its file or its type: Q5_0, Q8_0',
    )
    expect(() => chosen(['a-Q4_K_M.gguf', 'b-Q4_K_M.gguf', 'c-Q8_0.gguf'], 'any')).toThrow(
      /: a-Q4_K_M.gguf, b-Q4_K_M.gguf$/,
    )
    expect(() => chosen(['a-F16.gguf', 'b-F16.gguf'], 'full-precision')).toThrow('several models')
    expect(() => chosen(['m-Q8_0.gguf'], 'full-precision')).toThrow('it has no full-precision file')
  })

  test('checkpoints, and what is neither', () => {
    const checkpoint = [
      'config.json',
      'model.safetensors',
      'tokenizer.json',
      'pytorch_model.bin',
      'onnx/model.onnx',
    ]
    expect(chosen(checkpoint, 'any')).toBe('checkpoint')
    expect(chosen([...checkpoint, 'm-Q8_0.gguf'], 'full-precision')).toBe('checkpoint')
    expect(chosen([...checkpoint, 'm-Q8_0.gguf'], 'any')).toEqual(['m-Q8_0.gguf'])
    expect(checkpointFiles(checkpoint)).toEqual(['config.json', 'model.safetensors', 'tokenizer.json'])
    expect(() => chosen(['pytorch_model.bin', 'config.json'], 'any')).toThrow(
      'pickles (.bin, .pt), which can run code',
    )
    expect(() => chosen(checkpoint, 'any', 'Q8_0')).toThrow(
      'hf:o/m: it has no Q8_0 but a checkpoint, which needs no name after the colon',
    )
    expect(() => chosen(checkpoint, 'checkpoint', 'Q8_0')).toThrow('leave out Q8_0 after the name')
    expect(() => chosen(['README.md'], 'any')).toThrow('it has no GGUF file and no checkpoint of safetensors')
  })
})

describe('local stores', () => {
  const digest = createHash('sha256').update('weights').digest('hex')

  test("Ollama's manifests lead to blobs", async () => {
    const models = join(folder, 'ollama')
    vi.stubEnv('OLLAMA_MODELS', models)
    const blob = write(`ollama/blobs/sha256-${digest}`, 'weights')
    const layer = { mediaType: 'application/vnd.ollama.image.model', digest: `sha256:${digest}` }
    const manifest = JSON.stringify({ layers: [{ mediaType: 'other', digest: 'x' }, layer] })
    write('ollama/manifests/registry.ollama.ai/library/gemma3/270m', manifest)
    write('ollama/manifests/hf.co/org/model/Q8_0', manifest)
    write(
      'ollama/manifests/registry.ollama.ai/library/bad/latest',
      JSON.stringify({ layers: [{ ...layer, digest: 'sha256:../../x' }] }),
    )
    expect(await resolveModel('ollama:gemma3:270m')).toMatchObject({ path: blob, title: 'gemma3-270m' })
    expect(await resolveModel('gemma3:270m')).toMatchObject({ path: blob, kind: 'gguf' })
    expect((await resolveModel('ollama:hf.co/org/model:Q8_0')).path).toBe(blob)
    await expect(resolveModel('ollama:none')).rejects.toThrow(
      /^ollama:none: Ollama has no such model in .*; it has hf.co\/org\/model:Q8_0, bad:latest, gemma3:270m$/,
    )
    await expect(resolveModel('ollama:../../../etc/passwd')).rejects.toThrow('Ollama has no such model')
    await expect(resolveModel('ollama:bad')).rejects.toThrow("this manifest of Ollama's names no model")
  })

  test("LM Studio's folders hold models by publisher", async () => {
    vi.stubEnv('HOME', join(folder, 'home2'))
    const file = write('home2/.lmstudio/models/org/model-GGUF/model-Q8_0.gguf')
    write('home2/.lmstudio/models/org/model-GGUF/model-Q4_0.gguf')
    write('home2/.lmstudio/models/org/model-GGUF/mmproj-model.gguf')
    expect((await resolveModel('lm-studio:org/model-GGUF:Q8_0')).path).toBe(file)
    await expect(resolveModel('lm-studio:org/model-GGUF')).rejects.toThrow('Q4_0, Q8_0')
    await expect(resolveModel('lm-studio:org/other')).rejects.toThrow('it has org/model-GGUF')
  })

  test("folders, and the Hub's cache, offline", async () => {
    const file = write('made/m-Q8_0.gguf')
    write('made/m-f16.gguf')
    expect((await resolveModel('made:q8_0')).path).toBe('made/m-Q8_0.gguf')
    expect((await resolveModel(file)).files).toEqual([{ path: file, bytes: 1, present: true }])
    expect((await resolveModel('made', { need: 'full-precision' })).path).toBe('made/m-f16.gguf')
    const commit = 'a'.repeat(40)
    const blob = write(`hf/hub/models--org--m/blobs/${digest}`, 'weights')
    mkdirSync(join(folder, `hf/hub/models--org--m/snapshots/${commit}`), { recursive: true })
    const name = join(folder, `hf/hub/models--org--m/snapshots/${commit}/m-F16.gguf`)
    symlinkSync(blob, name)
    write('hf/hub/models--org--m/refs/main', commit)
    vi.stubEnv('HF_HOME', join(folder, 'hf'))
    vi.stubEnv('HF_HUB_OFFLINE', '1')
    expect(await resolveModel('org/m')).toMatchObject({ path: name, name: 'hf:org/m:m-F16.gguf' })
    expect((await resolveModel(join(folder, 'hf/hub/models--org--m'))).path).toBe(name)
    await expect(resolveModel('org/other')).rejects.toThrow('HF_HUB_OFFLINE forbids to ask the Hub')
  })

  test('a path that is not there is left to its reader', async () => {
    expect(await resolveModel('nothing.gguf')).toMatchObject({ path: 'nothing.gguf', files: [] })
  })
})
