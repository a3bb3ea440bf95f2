/** Machines that are described, and the layout of layers on them. */
import { describe, expect, test } from 'vitest'
import { loadCatalogue } from '../../src/advise/catalogue/catalogue.js'
import { gpuNamed } from '../../src/advise/catalogue/names.js'
import { gpuSpec } from '../../src/advise/machine/gpu.js'
import { describeMachine } from '../../src/advise/machine/machine.js'
import { namedMachine } from '../../src/advise/machine/named.js'
import { layoutOf } from '../../src/advise/memory/layout.js'
import { repackedTypes } from '../../src/advise/memory/repack.js'

const gib = 2 ** 30

describe('a machine', () => {
  test('that nobody describes is this one', () => {
    const machine = describeMachine()
    expect(machine.described).toBe(false)
    expect(machine.cpu.usableBytes).toBeGreaterThan(0)
    expect(machine.cpu.freeBytes).toBeGreaterThan(0)
    expect(machine.threads).toBeGreaterThan(0)
  })

  test('with a card leaves a part of both memories to others', async () => {
    const spec = gpuSpec(gpuNamed(await loadCatalogue(), 'RTX 4090')!)
    const { cpu, gpus } = describeMachine({ ramBytes: 16 * gib, gpus: [spec] })
    expect(cpu.usableBytes).toBe(12 * gib)
    expect(cpu.freeBytes).toBeUndefined()
    expect(gpus.map(({ usableBytes }) => usableBytes)).toEqual([23 * gib])
    expect(gpus[0].bandwidth).toBeGreaterThan(9e11)
    expect(spec.nvfp4Native).toBe(false)
  })

  test('with unified memory has a working set', async () => {
    const spec = gpuSpec(gpuNamed(await loadCatalogue(), 'Apple M2 Pro')!, 16 * gib)
    expect(spec.unified).toBe(true)
    const [gpu] = describeMachine({ ramBytes: 16 * gib, gpus: [spec] }).gpus
    expect(gpu.usableBytes).toBeCloseTo((32 / 3) * gib)
  })

  test('is described by sizes and the name of a card, and says what it assumes', async () => {
    const catalogue = await loadCatalogue()
    const sold = namedMachine(catalogue, { ramBytes: 16 * gib, gpu: 'RTX 4060 Ti' })
    expect(sold.machine.gpus.map(({ totalBytes }) => totalBytes)).toEqual([8 * gib])
    expect(sold.notes.join()).toContain('sold with 8 and 16 GB')
    const unnamed = namedMachine(catalogue, { vramBytes: 8 * gib })
    expect(unnamed.machine.described).toBe(true)
    expect(unnamed.machine.gpus[0].bandwidth).toBeUndefined()
    expect(unnamed.notes.join()).toContain("this machine's")
    const apple = namedMachine(catalogue, { gpu: 'Apple M4' })
    expect(apple.machine.cpu).toMatchObject({ totalBytes: 16 * gib, bandwidth: 120e9, unified: true })
    expect(apple.notes.join()).toContain('--ram says otherwise')
    expect(namedMachine(catalogue, { vramBytes: 0 }).machine.gpus).toEqual([])
  })

  test('of an absurd size is refused', () => {
    for (const ramBytes of [0, -1, 1e30, Number.NaN])
      expect(() => describeMachine({ ramBytes })).toThrow('no machine')
  })
})

describe('layers', () => {
  test('go to the card from the last, the output first', () => {
    expect(layoutOf(4, { gpuLayers: 0 })).toEqual({ layers: [-1, -1, -1, -1], output: -1 })
    expect(layoutOf(4, { gpuLayers: 1 })).toEqual({ layers: [-1, -1, -1, -1], output: 0 })
    expect(layoutOf(4, { gpuLayers: 3 })).toEqual({ layers: [-1, -1, 0, 0], output: 0 })
    expect(layoutOf(4, { gpuLayers: Number.POSITIVE_INFINITY })).toEqual({ layers: [0, 0, 0, 0], output: 0 })
  })

  test('are split among cards by their shares', () => {
    expect(layoutOf(7, { gpuLayers: 8, tensorSplit: [3, 1] }).layers).toEqual([0, 0, 0, 0, 0, 0, 1])
    expect(() => layoutOf(7, { gpuLayers: 8, tensorSplit: [0, 0] })).toThrow('shares')
  })
})

test('processors repack more types the more they can', () => {
  expect(repackedTypes([])).toEqual([])
  expect(repackedTypes(['AVX2', 'AVX512'])).toEqual([...repackedTypes(['AVX2']), 'Q2_K'])
})
