/** Refreshing the catalogue from a Hub: what changes, what is another model, and a Hub that fails. */
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { reloadCatalogue, schemaProblem, updatedFamiliesFile } from '../../src/advise/catalogue/catalogue.js'
import { refreshed } from '../../src/advise/catalogue/refresh.js'
import { NewReleases } from '../../src/advise/catalogue/releases.js'
import { familySchema } from '../../src/advise/catalogue/schema.js'
import type { Family } from '../../src/advise/catalogue/types.js'
import { updateCatalogue } from '../../src/advise/catalogue/update.js'
import { HubCache } from '../../src/hub/cache.js'
import { HubClient } from '../../src/hub/client.js'
import { hubSettings } from '../../src/hub/settings.js'
import { startHub } from '../support/hub.js'
import { memoryModels } from '../support/memory-models.js'
import { stringValue, uint32Value, withMetadata } from '../support/with-metadata.js'

const hub = await startHub()
const before = { QUENCH_CACHE: process.env.QUENCH_CACHE, HF_HOME: process.env.HF_HOME }
let folder: string
let family: Family
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-'))
  Object.assign(process.env, { HF_ENDPOINT: hub.endpoint, HF_HOME: join(folder, 'hf') })
  process.env.QUENCH_CACHE = join(folder, 'cache')
  await memoryModels[0].write(join(folder, 'model-F32.gguf'))
  const model = await readFile(join(folder, 'model-F32.gguf'))
  hub.repositories.set('org/model-GGUF', { files: { 'model-F32.gguf': model } })
  hub.repositories.set('org/model-qat-q4_0-gguf', { files: { 'model-qat-q4_0.gguf': Buffer.alloc(1234) } })
  const { families } = await reloadCatalogue()
  const release = {
    repository: 'org/model-qat-q4_0-gguf',
    type: 'Q4_0',
    scheme: 'Q4_0',
    form: 'gguf',
  } as const
  family = {
    ...families.find(({ id }) => id === 'llama-3.2-1b')!,
    ...{ blocks: 4, embedding: 256, heads: 8, kvHeads: 2, vocabulary: 262, feedForward: 1, headSize: 32 },
    ...{ context: 512, parameters: 3_500_000, parametersText: undefined as never },
    ggufRepositories: ['org/gone-GGUF', 'org/model-GGUF'],
    qat: [
      { ...release, sources: ['a page'] },
      { ...release, repository: 'org/gone-qat-gguf', sources: ['a page'] },
      { ...release, repository: 'org/weights', form: 'unquantized', sources: ['a page'] },
    ],
    sources: ['a page', 'hf:org/model-GGUF@0123 before'],
  }
})
afterAll(async () => {
  for (const [name, value] of Object.entries(before))
    if (value === undefined) delete process.env[name]
    else process.env[name] = value
  await rm(folder, { recursive: true })
  await reloadCatalogue()
})
afterEach(() => {
  hub.fault = undefined
  hub.listing = undefined
})

async function refresh(one: Family, families: readonly Family[] = [one]) {
  const client = new HubClient(hubSettings(), { pauses: [0] })
  try {
    const today = '2026-12-01'
    const newReleases = new NewReleases(client, families, ['Q4_0', 'Q2_0', 'NVFP4'], today)
    return await refreshed(client, new HubCache(client.settings.cache), one, newReleases, today)
  } finally {
    await client.close()
  }
}

describe('a family', () => {
  test('has the shape of its header, the sizes of its releases, and no repository that is gone', async () => {
    const { family: now, changes } = await refresh(family)
    expect(now).toMatchObject({ blocks: 4, embedding: 256, feedForward: 768, read: '2026-12-01' })
    expect(now.ggufRepositories).toEqual(['org/model-GGUF'])
    expect(now.qat?.map(({ repository, fileBytes }) => [repository, fileBytes])).toEqual([
      ['org/model-qat-q4_0-gguf', 1234],
      ['org/weights', undefined],
    ])
    expect(now.sources[0]).toBe('a page')
    expect(now.sources).toHaveLength(2)
    expect(now.sources[1]).toMatch(/^hf:org\/model-GGUF@[0-9a-f]{12}:model-F32\.gguf$/)
    expect(changes).toContainEqual({ field: 'feedForward', before: 1, now: 768 })
    expect(changes).toContainEqual({ field: 'qat', before: 'org/gone-qat-gguf' })
    expect(changes).toContainEqual({ field: 'qat org/model-qat-q4_0-gguf', now: 1234 })
  })

  test('gets the QAT releases that its owners have put there since', async () => {
    const one = { ...family, hub: 'org/Model-4B-it', ggufRepositories: ['org/model-GGUF'] }
    const sibling = {
      ...one,
      ...{ id: 'model-12b', hub: 'org/Model-12B-it' },
      qat: [{ ...one.qat![0], repository: 'others/model-12b-it-qat-gguf' }],
    }
    for (const [id, name] of [
      ['org/model-4b-it-qat-q2_0-gguf', 'm-Q2_0.gguf'],
      ['org/model-4b-it-qat-nvfp4', 'model.safetensors'],
      ['org/model-4b-it-qat-q4_0-unquantized', 'model.safetensors'],
      ['org/model-14b-it-qat-q4_0-gguf', 'm-Q4_0.gguf'], // another size
      ['org/model-4b-it-aqat', 'm-Q4_0.gguf'],
      ['others/Model-4B-it-QAT-GGUF', 'm-Q4_0.gguf'], // known from the sibling's
      ['strangers/model-4b-it-qat-gguf', 'm-Q4_0.gguf'],
    ])
      hub.repositories.set(id, { files: { [name]: Buffer.alloc(77) } })
    const { family: now, changes } = await refresh(one, [one, sibling])
    const added = now.qat!.slice(2)
    expect(added.map(({ repository, form, type, fileBytes }) => [repository, form, type, fileBytes])).toEqual(
      [
        ['org/model-4b-it-qat-q2_0-gguf', 'gguf', 'Q2_0', 77],
        ['org/model-4b-it-qat-nvfp4', 'other', 'NVFP4', undefined],
        ['org/model-4b-it-qat-q4_0-unquantized', 'unquantized', 'Q4_0', undefined],
        ['others/Model-4B-it-QAT-GGUF', 'gguf', 'Q4_0', 77],
      ],
    )
    expect(changes).toContainEqual({ field: 'qat', now: 'others/Model-4B-it-QAT-GGUF' })
    expect(schemaProblem(JSON.parse(JSON.stringify(now)), familySchema)).toBeUndefined()
    // Those that are known are not found again.
    const again = await refresh(now, [now, sibling])
    expect(again.family.qat).toHaveLength(now.qat!.length)
  })

  test.each([
    ['no list', '{"models":[]}'],
    ['names that leave their folder', '[{"id":"org/../../x-qat"}]'],
    ['no names', '[{"modelId":"org/x"}]'],
  ])('of a Hub whose search answers with %s is a sentence', async (_, text) => {
    hub.fault = ({ url }, response) => {
      if (!url.startsWith('/api/models?')) return false
      response.setHeader('content-type', 'application/json')
      response.end(text)
      return true
    }
    await expect(refresh(family)).rejects.toThrow('list of its models cannot be read')
  })

  test('is not taken from another model', async () => {
    await expect(refresh({ ...family, architecture: 'gemma3' })).rejects.toThrow(
      'a model of llama, not of gemma3',
    )
    await expect(refresh({ ...family, parameters: 3e9 })).rejects.toThrow('another model')
    const other = join(folder, 'other.gguf')
    const change = { 'general.architecture': stringValue('llama'), 'llama.block_count': uint32Value(4e9) }
    await withMetadata(join(folder, 'model-F32.gguf'), other, change)
    hub.repositories.set('org/other-GGUF', { files: { 'm-F32.gguf': await readFile(other) } })
    const { family: now } = await refresh({ ...family, ggufRepositories: ['org/other-GGUF'] })
    expect(schemaProblem(now, familySchema)).toContain('blocks')
  })
})

describe('an update', () => {
  const some = { families: ['llama-3.2-1b', 'gemma-3-1b'], pauses: [0] }

  test('of repositories that the Hub has not keeps the families, and says so', async () => {
    const dry = await updateCatalogue({ ...some, dryRun: true })
    expect(dry.path).toBeUndefined()
    expect(existsSync(updatedFamiliesFile())).toBe(false)
    expect(dry.changed).toEqual([])
    expect(dry.failures.map(({ problem }) => problem).join()).toContain('none of the repositories')
  })

  test('is written, used and said', async () => {
    const shipped = (await reloadCatalogue()).families.find(({ id }) => id === 'gemma-3-1b')!
    const [release] = shipped.qat?.filter(({ form }) => form === 'gguf') ?? []
    hub.repositories.set(release.repository, { files: { 'gemma-3-1b-it-q4_0.gguf': Buffer.alloc(4321) } })
    const { path, changed } = await updateCatalogue({ families: ['gemma-3-1b'], pauses: [0] })
    expect(path).toBe(updatedFamiliesFile())
    expect(changed.map(({ id }) => id)).toEqual(['gemma-3-1b'])
    const now = await reloadCatalogue()
    expect(now.updated?.families).toEqual(['gemma-3-1b'])
    const found = now.families.find(({ id }) => id === 'gemma-3-1b')
    expect(found?.qat?.find(({ repository }) => repository === release.repository)?.fileBytes).toBe(4321)
    // Another family later: the first one stays.
    hub.repositories.set('google/gemma-3-4b-it-qat-q4_0-gguf', { files: { 'q4_0.gguf': Buffer.alloc(99) } })
    await updateCatalogue({ families: ['gemma-3-4b'], pauses: [0] })
    expect((await reloadCatalogue()).updated?.families).toContain('gemma-3-1b')
  })

  test.each([
    ['asks for fewer requests', 429],
    ['fails', 503],
  ])('of a Hub that %s changes nothing', async (_, status) => {
    const kept = await readFile(updatedFamiliesFile())
    hub.fault = (__, response) => {
      response.writeHead(status).end()
      return true
    }
    await expect(updateCatalogue(some)).rejects.toThrow(`${status}`)
    expect(await readFile(updatedFamiliesFile())).toEqual(kept)
  })

  test.each([
    ['a web page', '<html>log in</html>', 'a web page came'],
    ['hostile JSON', '{"sha":"x","siblings":[{"rfilename":"../../a.gguf"}]}', 'names no commit'],
    [
      'a huge listing',
      `{"sha":"${'a'.repeat(40)}","siblings":[${'1,'.repeat(100_001)}1]}`,
      'more than 100000 files',
    ],
    ['an endless answer', ' '.repeat(33 * 2 ** 20), 'longer than 32 MiB'],
  ])('of a Hub that answers with %s changes nothing', async (_, text, expected) => {
    const kept = await readFile(updatedFamiliesFile())
    hub.fault = (__, response) => {
      response.setHeader('content-type', 'application/json')
      response.end(text)
      return true
    }
    await expect(updateCatalogue({ families: ['gemma-3-1b'], pauses: [0] })).rejects.toThrow(expected)
    expect(await readFile(updatedFamiliesFile())).toEqual(kept)
  })

  test('offline is a sentence', async () => {
    process.env.HF_HUB_OFFLINE = '1'
    try {
      await expect(updateCatalogue(some)).rejects.toThrow('HF_HUB_OFFLINE')
    } finally {
      delete process.env.HF_HUB_OFFLINE
    }
  })
})
