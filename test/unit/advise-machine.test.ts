/** Machines that are described, and the layout of layers on them. */
import { describe, expect, test } from 'vitest'
import { loadCatalogue } from '../../src/advise/catalogue/catalogue.js'
import { gpuNamed } from '../../src/advise/catalogue/names.js'
import { gpuSpec } from '../../src/advise/machine/gpu.js'
import { describeMachine } from '../../src/advise/machine/machine.js'
import { namedMachine } from '../../src/advise/machine/named.js'
import { layoutOf } from '../../src/advise/memory/layout.js'
import { repackedBytes } from '../../src/advise/memory/repack.js'
import { ggmlTypeNamed } from '../../src/gguf/index.js'

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

describe('matrices of which a processor keeps a copy', () => {
  const copyOf = (name: string, shape: number[], ...instructions: string[]) => {
    const { type, blockSize, blockBytes } = ggmlTypeNamed(name)!
    const bytes = (shape.reduce((all, n) => all * n, 1) / blockSize) * blockBytes
    const copy = repackedBytes({ type, shape, bytes }, instructions)
    return copy === undefined ? undefined : copy - bytes
  }

  test('are more the more it can', () => {
    expect(copyOf('Q4_0', [256, 64])).toBeUndefined()
    expect(copyOf('Q4_0', [256, 64], 'AVX2')).toBe(0)
    expect(copyOf('Q4_0', [256, 60], 'AVX2')).toBeUndefined()
    expect(copyOf('Q2_K', [256, 64], 'AVX2')).toBeUndefined()
    expect(copyOf('Q2_K', [256, 64], 'AVX2', 'AVX512')).toBe(0)
  })

  test('AMX takes F16 too, grows blocks by their sums, and leaves experts and odd shapes to others', () => {
    const amx = ['AVX2', 'AVX512', 'AMX_INT8']
    expect(copyOf('F16', [272, 64], ...amx)).toBe(0)
    expect(copyOf('F16', [272, 48], ...amx)).toBeUndefined()
    expect(copyOf('BF16', [272, 64], ...amx)).toBeUndefined()
    expect(copyOf('Q8_0', [256, 64], ...amx)).toBe(4 * 8 * 64)
    expect(copyOf('Q4_K', [512, 32], ...amx)).toBe(4 * 2 * 32)
    expect(copyOf('IQ4_XS', [512, 32], ...amx)).toBe(2 * 2 * 32)
    expect(copyOf('Q8_0', [256, 64, 4], ...amx)).toBeUndefined()
    expect(copyOf('Q4_K', [256, 64, 4], ...amx)).toBe(0)
  })
})
