/** The catalogue that ships follows its schemas, names its sources, and is found by the names that people use. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { advise } from '../../src/advise/advise.js'
import {
  loadCatalogue,
  reloadCatalogue,
  schemaProblem,
  updatedFamiliesFile,
} from '../../src/advise/catalogue/catalogue.js'
import {
  familyNamed,
  familyOfFile,
  gpuNamed,
  gpusLike,
  lineNamed,
  modelName,
} from '../../src/advise/catalogue/names.js'
import { familySchema } from '../../src/advise/catalogue/schema.js'
import { listCache } from '../../src/cache.js'

describe('what ships', () => {
  test('names a source for everything, and each thing once', async () => {
    const { families, gpus, losses, training, cacheLosses } = await loadCatalogue()
    for (const { sources } of [...families, ...gpus, ...losses, ...training, ...cacheLosses]) {
      expect(sources.length).toBeGreaterThan(0)
      expect(sources.join()).not.toMatch(/unknown/)
    }
    expect(new Set(families.map(({ id }) => id)).size).toBe(families.length)
    expect(new Set(gpus.map(({ id }) => id)).size).toBe(gpus.length)
    expect(families.length).toBeGreaterThan(80)
    expect(gpus.length).toBeGreaterThan(100)
  })

  test('types come in the order of their size, and every loss on the curve has one', async () => {
    const { types, losses } = await loadCatalogue()
    expect(types.map(({ bitsPerWeight }) => bitsPerWeight)).toEqual(
      types.map(({ bitsPerWeight }) => bitsPerWeight).sort((a, b) => a - b),
    )
    for (const { parameters, kld } of losses.filter(({ reference }) => reference === 'original')) {
      expect(parameters).toBeGreaterThan(1e6)
      expect(kld).toBeGreaterThan(0)
    }
  })

  test('shapes make the parameters that are stated, for dense models without towers', async () => {
    const { families } = await loadCatalogue()
    const dense = families.filter(
      ({ id, experts, kvBlocks, feedForward }) =>
        /^(qwen3|llama|smollm2)-/.test(id) && !experts && !kvBlocks && feedForward,
    )
    expect(dense.length).toBeGreaterThan(10)
    for (const family of dense) {
      const { embedding: d, blocks, heads, kvHeads = heads, headSize = d / heads, vocabulary } = family
      const block = d * headSize * (2 * heads + 2 * kvHeads) + 3 * d * (family.feedForward ?? 0)
      const embeddings = [1, 2].map((n) => blocks * block + n * vocabulary * d)
      const closest = Math.min(...embeddings.map((n) => Math.abs(n / family.parameters - 1)))
      expect(closest, family.id).toBeLessThan(0.01)
    }
  })
})

describe('names', () => {
  test.each([
    ['gemma-3-4b-it-qat-q4_0.gguf', 'gemma-3-4b'],
    ['models/google_gemma-3-12b-it-Q4_K_M.gguf', 'gemma-3-12b'],
    ['Qwen3-30B-A3B-Instruct-2507-UD-Q4_K_XL.gguf', 'qwen3-30b-a3b-2507'],
    ['Meta-Llama-3-8B-Q8_0-00001-of-00002.gguf', 'llama-3-8b'],
    ['unsloth/Qwen3-4B-GGUF', 'qwen3-4b'],
  ])('%s is %s', (name, model) => {
    expect(modelName(name)).toBe(model)
  })

  test('a family is found by id, name, repository and line; a fine-tune is not a member', async () => {
    const catalogue = await loadCatalogue()
    expect(familyNamed(catalogue, 'Gemma 3 4B')?.id).toBe('gemma-3-4b')
    expect(familyNamed(catalogue, 'google/gemma-3-4b-it-qat-q4_0-gguf')?.id).toBe('gemma-3-4b')
    expect(lineNamed(catalogue, 'gemma-3').map(({ id }) => id)).toEqual([
      ...['gemma-3-270m', 'gemma-3-1b', 'gemma-3-4b', 'gemma-3-12b', 'gemma-3-27b'],
    ])
    expect(familyOfFile(catalogue, ['Qwen3 8B', 'x.gguf'], 'qwen3')?.id).toBe('qwen3-8b')
    expect(familyOfFile(catalogue, ['Qwen3-8B-Q4_K_M.gguf'], 'llama')).toBeUndefined()
    expect(familyOfFile(catalogue, ['My-Qwen3-8B-Roleplay'], 'qwen3')).toBeUndefined()
  })

  test('a GPU is found within the name that a driver gives it', async () => {
    const catalogue = await loadCatalogue()
    expect(gpuNamed(catalogue, 'NVIDIA GeForce RTX 4090')?.id).toBe('rtx-4090')
    expect(gpuNamed(catalogue, 'NVIDIA GeForce RTX 4090 Laptop GPU')?.id).toBe('rtx-4090-laptop')
    expect(gpuNamed(catalogue, 'rtx 4060 ti')?.id).toBe('rtx-4060-ti')
    expect(gpuNamed(catalogue, 'Apple M3 Pro')?.id).toBe('apple-m3-pro')
    expect(gpuNamed(catalogue, 'GeForce 256')).toBeUndefined()
    expect(gpusLike(catalogue, 'rtx 9999')).toContain('RTX 5090')
  })
})

describe('what an update has written', () => {
  let cache: string
  const before = process.env.QUENCH_CACHE
  beforeEach(async () => {
    cache = await mkdtemp(join(tmpdir(), 'quench-'))
    process.env.QUENCH_CACHE = cache
  })
  afterEach(async () => {
    process.env.QUENCH_CACHE = before
    await rm(cache, { recursive: true })
    await reloadCatalogue()
  })
  const write = async (text: string) => {
    await mkdir(dirname(updatedFamiliesFile()), { recursive: true })
    await writeFile(updatedFamiliesFile(), text)
  }

  test('takes the place of the family that ships', async () => {
    const { families } = await reloadCatalogue()
    const own = { ...families[0], licence: 'other' }
    await write(JSON.stringify({ schema: 1, made: '2099-01-01', families: [own] }))
    const now = await reloadCatalogue()
    expect(now.families.length).toBe(families.length)
    expect(now.families.find(({ id }) => id === own.id)?.licence).toBe('other')
    expect(now.made).toBe('2099-01-01')
    expect(now.updated).toEqual({ made: '2099-01-01', families: [own.id] })
    const { notes } = await advise({ names: [own.id], ramBytes: 8e9, vramBytes: 0 })
    expect(notes.join()).toContain('refreshed from the Hub on 2099-01-01')
    expect(listCache().entries.map(({ kind }) => kind)).toContain('catalogue')
  })

  test('gives way to what ships once that is younger', async () => {
    const { families } = await reloadCatalogue()
    const own = { ...families[0], licence: 'other', read: '2025-01-01' }
    await write(JSON.stringify({ schema: 1, made: '2025-01-01', families: [own] }))
    const now = await reloadCatalogue()
    expect(now.families).toEqual(families)
    expect(now.updated).toBeUndefined()
  })

  test.each([
    ['no JSON', '{', 'no JSON'],
    ['another schema', '{"schema":2,"made":"2026-01-01","families":[]}', 'schema'],
    ['a field too many', '{"schema":1,"made":"2026-01-01","families":[{"id":"x","virus":1}]}', 'families/0'],
  ])('is not used, and why is said: %s', async (_, text, expected) => {
    const { families } = await reloadCatalogue()
    await write(text)
    const now = await reloadCatalogue()
    expect(now.families).toEqual(families)
    expect(now.problem).toContain(expected)
    expect(now.problem).toContain('delete it')
    const { notes } = await advise({ names: ['gemma-3-1b'], ramBytes: 8e9, vramBytes: 0 })
    expect(notes.join()).toContain('is not used')
  })
})

test('a family with an absurd number does not follow the schema', async () => {
  const [family] = (await loadCatalogue()).families
  expect(schemaProblem(family, familySchema)).toBeUndefined()
  expect(schemaProblem({ ...family, blocks: 1e300 }, familySchema)).toContain('blocks')
  expect(schemaProblem({ ...family, hub: '../../etc/passwd' }, familySchema)).toContain('hub')
})
