/** Files of a repository by their headers: what they tell, what is not fetched, and a Hub that fails. */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { advise } from '../../src/advise/advise.js'
import { loadCatalogue, schemaProblem } from '../../src/advise/catalogue/catalogue.js'
import { repositoryCandidates } from '../../src/advise/repository.js'
import { adviceSchema } from '../../src/advise/schema.js'
import { startHub } from '../support/hub.js'
import { memoryModels, writeZeros } from '../support/memory-models.js'

const hub = await startHub()
const catalogue = { families: [], types: [] } as never
let folder: string
let files: Record<string, Buffer>
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-'))
  process.env.HF_ENDPOINT = hub.endpoint
  process.env.HF_HOME = join(folder, 'hf')
  const source = join(folder, 'source.gguf')
  await memoryModels[0].write(source)
  const zeros = async (type: string) => readFile(await writeZeros(source, folder, type))
  files = { 'm-Q8_0.gguf': await zeros('Q8_0'), 'm-Q4_0.gguf': await zeros('Q4_0') }
  hub.repositories.set('org/model-GGUF', { files: { ...files, 'mmproj-m.gguf': Buffer.from('no model') } })
})
afterAll(() => rm(folder, { recursive: true }))
afterEach(() => {
  hub.fault = undefined
  hub.listing = undefined
  hub.sent.clear()
})

const machine = { ramBytes: 8e9, vramBytes: 0, minSpeed: 0 }
const name = 'hf:org/model-GGUF'

describe('a repository', () => {
  test('of a model that no catalogue has is compared by its headers, and nothing else is fetched', async () => {
    const advice = await advise({ names: [name], ...machine, context: 512 })
    expect(schemaProblem(JSON.parse(JSON.stringify(advice)), adviceSchema)).toBeUndefined()
    const [{ files: told, pick, commands }] = advice.models
    expect(told.map(({ file, source }) => [file, source])).toEqual([
      ['m-Q8_0.gguf', 'repository'],
      ['m-Q4_0.gguf', 'repository'],
    ])
    expect(told.map(({ bytes }) => bytes)).toEqual([files['m-Q8_0.gguf'].length, files['m-Q4_0.gguf'].length])
    expect(pick).toBe(`${name}:m-Q8_0.gguf`)
    expect(commands[0].command).toBe(`quench pull ${name}:Q8_0`)
    for (const [path, bytes] of hub.sent) expect(bytes, path).toBeLessThanOrEqual(2 ** 17)
  })

  test('takes as much memory as its files do once they are here', async () => {
    const local = join(folder, 'Q4_0.gguf')
    const options = { ...machine, context: 2048 }
    const [there] = (await advise({ names: [`${name}:Q4_0`], ...options })).models
    const [here] = (await advise({ names: [local], ...options })).models
    expect(there.files).toHaveLength(1)
    expect(there.files[0].memory).toEqual(here.files[0].memory)
  })

  test('with two files of a type names the file, not the type', async () => {
    hub.repositories.set('org/twice', {
      files: { 'a-Q8_0.gguf': files['m-Q8_0.gguf'], 'b-Q8_0.gguf': files['m-Q8_0.gguf'] },
    })
    const [{ commands }] = (await advise({ names: ['hf:org/twice'], ...machine })).models
    expect(commands.map(({ command }) => command).join('\n')).toContain('-hf org/twice -hff a-Q8_0.gguf')
  })

  test('with a damaged file names it, and compares the others', async () => {
    const damaged = Buffer.from(files['m-Q8_0.gguf'].subarray(0, 3000))
    hub.repositories.set('org/damaged', { files: { ...files, 'm-Q2_K.gguf': damaged } })
    const { failures, models } = await advise({ names: ['hf:org/damaged'], ...machine })
    expect(failures).toMatchObject([{ path: 'hf:org/damaged:m-Q2_K.gguf' }])
    expect(models[0].files).toHaveLength(2)
  })

  test('of many files is looked at in part, and that is said', async () => {
    const many = Array.from({ length: 66 }, (_, i) => [`m${i}-Q8_0.gguf`, files['m-Q8_0.gguf']] as const)
    hub.repositories.set('org/many', { files: Object.fromEntries(many) })
    const { candidates, notes } = await repositoryCandidates(
      { kind: 'hub', id: 'org/many', revision: 'main' },
      await loadCatalogue(),
    )
    expect(candidates).toHaveLength(64)
    expect(notes.join()).toContain('2 more files')
  })
})

describe('what fails is a sentence', () => {
  const ask = (id = 'org/model-GGUF', pick?: string) =>
    repositoryCandidates({ kind: 'hub', id, revision: 'main', ...(pick && { pick }) }, catalogue, {
      pauses: [0],
    })

  test('no such file, no GGUF files, no such repository', async () => {
    hub.repositories.set('org/none', { files: { 'README.md': Buffer.from('') } })
    await expect(ask('org/model-GGUF', 'Q2_K')).rejects.toThrow('has no Q2_K')
    await expect(ask('org/none')).rejects.toThrow('no GGUF files')
    await expect(ask('org/nothing')).rejects.toThrow('no such repository')
  })

  test.each([
    [500, 'HTTP status 500, 2 times in a row'],
    [429, 'fewer requests'],
    [404, 'nothing of that name'],
  ])('status %i', async (status, text) => {
    hub.fault = (_, response) => {
      response.writeHead(status).end()
      return true
    }
    await expect(ask()).rejects.toThrow(text)
  })

  test('a web page instead of a listing, and instead of a header', async () => {
    const page = (part: RegExp) => {
      hub.fault = ({ url }, response) => {
        if (!part.test(url)) return false
        response.writeHead(200, { 'content-type': 'text/html' }).end('<html>log in</html>')
        return true
      }
    }
    page(/api/)
    await expect(ask()).rejects.toThrow('a web page came')
    page(/resolve/)
    await expect(ask()).rejects.toThrow('a web page came')
  })

  test('a listing that names files outside of the repository', async () => {
    hub.listing = (told) => ({
      ...told,
      siblings: [{ rfilename: '../x.gguf', size: 1, blobId: 'a'.repeat(40) }],
    })
    await expect(ask()).rejects.toThrow('lies in no repository')
  })
})
