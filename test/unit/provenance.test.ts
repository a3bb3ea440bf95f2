/** What files say of how they were made: into a header that another program wrote, out of it again, and whether it is so. */
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createGguf, type GgufValue, Metadata, openGguf } from '../../src/gguf/index.js'
import { fileHash } from '../../src/hashes.js'
import { type VerifyOptions, verifyFile } from '../../src/names/verify.js'
import { Provenance } from '../../src/provenance/provenance.js'
import { provenanceKeys, stepsKey, stepsOf } from '../../src/provenance/record.js'
import { reservedEntries, seal } from '../../src/provenance/seal.js'
import { version } from '../../src/provenance/version.js'
import { startHub } from '../support/hub.js'
import { commitOf } from '../support/hub-server.js'
import { scratchFolder } from './gguf-bytes.js'

const hub = await startHub()
const scratch = scratchFolder()
let folder: string
let count = 0
beforeEach(() => {
  folder = join(scratch, `case ${count++}`)
  mkdirSync(folder)
  vi.stubEnv('HF_ENDPOINT', hub.endpoint)
  vi.stubEnv('HF_HUB_CACHE', join(folder, 'hub'))
  vi.stubEnv('HF_HUB_OFFLINE', '')
  hub.asked.length = 0
})
afterEach(() => vi.unstubAllEnvs())

const text = (value: string): GgufValue => ({ type: 'string', value })
const values = Float32Array.from({ length: 64 }, (_, i) => i)
const bytes = new Uint8Array(values.buffer)

async function write(path: string, entries: Iterable<readonly [string, GgufValue]> = []): Promise<string> {
  const metadata = new Metadata(path, [['general.architecture', text('llama')], ...entries])
  const shapes = ['a.weight', 'b.weight'].map((name) => ({ name, shape: [32], type: 0 }))
  const writer = await createGguf(path, { metadata, tensors: shapes })
  await writer.write('a.weight', bytes.subarray(0, 128))
  await writer.write('b.weight', bytes.subarray(128))
  await writer.finish()
  return path
}

const metadataOf = async (path: string): Promise<Metadata> => {
  const gguf = await openGguf(path)
  await gguf.close()
  return gguf.metadata
}

/** What quantize does with a file of libllama's. */
async function made(from: string, name = 'made.gguf', options: Record<string, string> = {}): Promise<string> {
  const input = await metadataOf(from)
  const provenance = new Provenance({
    command: 'quantize',
    options,
    origins: [{ role: 'model', path: from }],
    input,
  })
  const path = join(folder, name)
  await write(path, [...[...input].slice(1), ...reservedEntries(provenance, input)])
  const { length } = readFileSync(path)
  await seal(path, provenance.begin())
  expect(readFileSync(path)).toHaveLength(length)
  return path
}

const statesOf = async (path: string, options?: VerifyOptions) => {
  const { ok, data, sources } = await verifyFile(path, options)
  return { ok, data: data.state, sources: sources.map(({ state }) => state) }
}

test('a record takes the place that was reserved for it, and all else stays', async () => {
  const from = await write(join(folder, 'secret model.gguf'), [['general.name', text('x')]])
  const path = await made(from, 'made.gguf', { type: 'T'.repeat(700) })
  const metadata = await metadataOf(path)
  expect([...metadata].map(([key]) => key)).toEqual([
    'general.architecture',
    'general.name',
    ...provenanceKeys,
  ])
  expect(stepsOf(metadata)).toEqual([
    {
      quench: version,
      command: 'quantize',
      options: { type: 'T'.repeat(700) },
      sources: [{ role: 'model', name: 'secret model.gguf', sha256: await fileHash(from) }],
    },
  ])
  expect(readFileSync(path).includes(folder)).toBe(false)
  expect(await statesOf(path)).toEqual({ ok: true, data: 'intact', sources: ['same'] })
})

test('steps are kept, of what is made of what was made, up to sixteen', async () => {
  let path = await write(join(folder, '0.gguf'))
  for (let i = 1; i <= 20; i++) path = await made(path, `${i}.gguf`, { type: String(i).repeat(i) })
  const steps = stepsOf(await metadataOf(path))
  expect(steps.map(({ options }) => (options.type as string).length)).toEqual(
    Array.from({ length: 16 }, (_, i) => (i + 5) * String(i + 5).length),
  )
  expect(await statesOf(path)).toMatchObject({ ok: true, data: 'intact' })
  // The next one is shorter than what it takes the place of.
  expect(stepsOf(await metadataOf(await made(path, 'short.gguf')))).toHaveLength(16)
})

test('damage, other inputs and records of other files are told', async () => {
  const from = await write(join(folder, 'from.gguf'))
  const path = await made(from)
  const whole = readFileSync(path)
  writeFileSync(path, whole.with(whole.length - 1, whole[whole.length - 1] ^ 1))
  expect(await statesOf(path)).toEqual({ ok: false, data: 'damaged', sources: ['same'] })
  writeFileSync(path, whole)
  writeFileSync(from, 'other')
  expect(await statesOf(path)).toEqual({ ok: false, data: 'intact', sources: ['other'] })
  const elsewhere = join(folder, 'elsewhere')
  mkdirSync(elsewhere)
  const moved = join(elsewhere, 'moved.gguf')
  writeFileSync(moved, whole)
  expect(await statesOf(moved)).toEqual({ ok: true, data: 'intact', sources: ['absent'] })

  // As if another program had quantized it and copied the metadata.
  const copied = new Metadata('', await metadataOf(path))
  const writer = await createGguf(moved, {
    metadata: copied,
    tensors: [{ name: 'a.weight', shape: [32], type: 0 }],
  })
  await writer.write('a.weight', bytes.subarray(0, 128))
  await writer.finish()
  expect(await statesOf(moved)).toMatchObject({ ok: false, data: 'converted' })
  await expect(verifyFile(await write(moved))).rejects.toThrow(/no record of how it was made/)
})

test('sources are found by name, in folders, in the cache, and on the Hub by its checksums', async () => {
  const content = readFileSync(await write(join(folder, 'content.gguf')))
  hub.repositories.set('org/model', { files: { 'sub/model-f16.gguf': content } })
  const commit = commitOf('org/model')
  const repository = join(folder, 'hub', 'models--org--model')
  const snapshot = join(repository, 'snapshots', commit, 'sub')
  const blobs = join(repository, 'blobs')
  for (const each of [snapshot, blobs]) mkdirSync(each, { recursive: true })
  const sha256 = await fileHash(join(folder, 'content.gguf'))
  writeFileSync(join(blobs, sha256), content)
  symlinkSync(`../../../blobs/${sha256}`, join(snapshot, 'model-f16.gguf'))
  const path = await made(join(snapshot, 'model-f16.gguf'))
  expect(stepsOf(await metadataOf(path))[0].sources).toEqual([
    { role: 'model', name: 'sub/model-f16.gguf', repository: 'org/model', revision: commit, sha256 },
  ])
  expect(await statesOf(path)).toEqual({ ok: true, data: 'intact', sources: ['same'] })
  expect(hub.asked).toEqual([])

  vi.stubEnv('HF_HUB_CACHE', join(folder, 'nothing'))
  expect((await statesOf(path)).sources).toEqual(['absent'])
  for (const source of [join(folder, 'content.gguf'), 'hf:org/model'])
    expect((await statesOf(path, { sources: [source] })).sources, source).toEqual(['same'])
  expect(hub.asked).toHaveLength(1)
  vi.stubEnv('HF_HUB_OFFLINE', '1')
  await expect(verifyFile(path, { sources: ['hf:org/model'] })).rejects.toThrow(/HF_HUB_OFFLINE/)
  expect(hub.asked).toHaveLength(1)
  vi.stubEnv('HF_HUB_OFFLINE', '')
  hub.repositories.set('org/model', { files: { 'sub/model-f16.gguf': content.subarray(1) } })
  expect(await statesOf(path, { sources: ['hf:org/model'] })).toMatchObject({ ok: false, sources: ['other'] })
})

test('what has not the form of a record is none', () => {
  const stepsIn = (...steps: string[]) =>
    stepsOf(new Metadata('', [[stepsKey, { type: 'array', itemType: 'string', value: steps }]]))
  const source = { role: 'model', name: 'm', sha256: 'a'.repeat(64) }
  const step = { quench: '1', command: 'train', options: { a: [], b: 1 }, sources: [source] }
  expect(stepsIn(`${JSON.stringify(step)}   `)).toEqual([step])
  for (const wrong of [
    { ...step, sources: [{ ...source, sha256: '../../x' }] },
    { ...step, sources: {} },
    { ...step, options: { a: {} } },
    { ...step, command: 1 },
    { ...step, quench: 'x'.repeat(501) },
  ])
    expect(stepsIn(JSON.stringify(step), JSON.stringify(wrong))).toEqual([])
  fc.assert(fc.property(fc.json(), (json) => stepsIn(json).length <= 1 && stepsIn(json, '{').length === 0))
})
