/** What a file takes at the ends of the slider from the processor to the card, by its header and by a family's shape. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { loadCatalogue } from '../../src/advise/catalogue/catalogue.js'
import { footprintOf, type Sized, sizedByFamily, sizedByHeader } from '../../src/advise/footprint.js'
import { describeMachine, type Machine } from '../../src/advise/machine/machine.js'
import { probeMachine } from '../../src/advise/machine/probe.js'
import { Store } from '../../src/compare/store.js'
import { openGguf } from '../../src/gguf/index.js'
import { memoryModels, writeZeros } from '../support/memory-models.js'

let folder: string
let sized: Sized
let fileBytes: number
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-advise-footprint-'))
  const source = join(folder, 'source.gguf')
  await memoryModels[0].write(source)
  const gguf = await openGguf(await writeZeros(source, folder, 'Q4_K'))
  await gguf.close()
  sized = sizedByHeader(gguf)
  fileBytes = gguf.tensors.reduce((sum, { bytes }) => sum + bytes, 0)
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const run = { context: 512, parallel: 1, cacheTypes: { keys: 'f16', values: 'f16' } }
const none = { generate: [], prompt: [] }
const card = { name: 'card', vramBytes: 2 ** 33, bandwidth: 1e12, unified: false }
const described = describeMachine({ ramBytes: 2 ** 34, gpus: [card] })
const withSets = (instructions: string[]): Machine => ({ ...described, instructions })

test('a machine without a card has one place, one with a card has two ends', () => {
  expect(footprintOf(sized, describeMachine({ ramBytes: 2 ** 34 }), run, none).loads).toHaveLength(1)
  const { loads, steps, fixedVram } = footprintOf(sized, described, run, none)
  expect(steps).toEqual([sized.layers + 1])
  expect(loads[0].vram).toBe(0)
  expect(loads[1].vram).toBeGreaterThan(fixedVram)
  expect(loads[1].ram).toBeLessThan(loads[0].ram)
})

test('weights that the processor repacks count once, though the file is mapped too', () => {
  const [plain, repacked] = [[], ['AVX2']].map(
    (sets) => footprintOf(sized, withSets(sets), run, none).loads[0],
  )
  expect(Math.abs(repacked.ram - plain.ram)).toBeLessThan(0.02 * fileBytes)
  const items = sized.memory({ ...run, instructions: ['AVX2'] })
  expect(items.some(({ reclaimable, bytes }) => reclaimable && bytes > 0.3 * fileBytes)).toBe(true)
})

test('of a family experts are placed apart, and what they leave to a token is what is read', async () => {
  const { families } = await loadCatalogue()
  const family = families.find(({ id }) => id === 'qwen3-30b-a3b')!
  const bytes = 18e9
  const { loads, steps } = footprintOf(sizedByFamily(family, { type: 'Q4_K_M', bytes }), described, run, none)
  expect(steps).toEqual([family.blocks + 1, family.blocks])
  expect(loads[1].vram).toBeLessThan(0.2 * bytes)
  expect(loads[2].vram).toBeGreaterThan(bytes)
  const [{ type, bytes: read, weights }] = sizedByFamily(family, { type: 'Q4_K_M', bytes }).work({}).weights
  expect(type).toBe('Q4_K')
  expect(read / bytes).toBeCloseTo(family.parametersActive! / family.parameters, 1)
  expect(weights).toBeLessThan(family.parametersActive!)
})

test('the probe measures no more types than it may, and takes what is stored of others', async () => {
  const store = await Store.open(join(folder, 'store.db'))
  try {
    const machine = { ...describeMachine(), gpus: [] }
    const probed = await probeMachine(machine, { types: ['Q4_K', 'Q8_0'], store, most: 0 })
    expect(probed.cpu.rates.size).toBe(0)
    expect(store.count().measurements).toBe(0)
    expect(await probeMachine(described, { types: ['Q4_K'], store })).toBe(described)
  } finally {
    store.close()
  }
})
