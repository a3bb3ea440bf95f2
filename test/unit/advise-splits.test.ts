/**
 * Layers and experts split over graphics cards and the processor, held against sums over tensors: a library that is built for the processor
 * alone has no device to put layers on, so libllama itself cannot be asked here.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { cardNames } from '../../src/advise/machine/machine.js'
import { estimateMemory } from '../../src/advise/memory/estimate.js'
import { layoutOf } from '../../src/advise/memory/layout.js'
import type { GgufHeader, MemoryItem } from '../../src/advise/memory/types.js'
import { openGguf } from '../../src/gguf/index.js'
import { memoryModels } from '../support/memory-models.js'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-advise-splits-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0)
/** Tensors on a graphics processor begin at multiples of 128 bytes. */
const padded = (bytes: number): number => Math.ceil(bytes / 128) * 128
const bytesOf = (items: readonly MemoryItem[], use: MemoryItem['use'], device?: number): number =>
  sum(
    items.flatMap((item) =>
      item.use === use && (device === undefined || item.device === device) ? [item.bytes] : [],
    ),
  )

describe.each(['llama', 'qwen2, tied', 'gemma3, a window', 'gemma4, shared caches', 'qwen3moe'])(
  '%s',
  (name) => {
    let header: GgufHeader
    let layers: number
    beforeAll(async () => {
      const path = join(folder, `${name}.gguf`)
      await memoryModels.find((model) => model.name === name)?.write(path)
      const gguf = await openGguf(path)
      await gguf.close()
      header = gguf
      layers = gguf.metadata.number(`${gguf.metadata.string('general.architecture')}.block_count`)
    })

    /** What the tensors of these layers take on a card. */
    const onCard = (
      has: (layer: number) => boolean,
      output: boolean,
      experts = (_: number) => true,
    ): number => {
      const tied = !header.tensors.some((tensor) => tensor.name === 'output.weight')
      return sum(
        header.tensors.map((tensor) => {
          const layer = Number(/^blk\.(\d+)\./.exec(tensor.name)?.[1] ?? -1)
          if (layer >= 0)
            return has(layer) && (experts(layer) || !/_exps\./.test(tensor.name)) ? padded(tensor.bytes) : 0
          if (tensor.name === 'token_embd.weight') return tied && output ? padded(tensor.bytes) : 0
          if (tensor.name.startsWith('per_layer_token_embd')) return 0
          const first = /^(per_layer_|rope_)/.test(tensor.name)
          return (first ? has(0) : output) ? padded(tensor.bytes) : 0
        }),
      )
    }

    test('each layer takes what its tensors do, and what is not on the card stays', () => {
      const whole = estimateMemory(header, { context: 1024 }).items
      for (let gpuLayers = 0; gpuLayers <= layers + 1; gpuLayers++) {
        const { items } = estimateMemory(header, { context: 1024, gpuLayers })
        const moved = (layer: number): boolean => layer >= layers + 1 - gpuLayers
        const card = onCard(moved, gpuLayers > 0)
        expect(bytesOf(items, 'weights', 0), `${gpuLayers} layers`).toBe(card)
        expect(bytesOf(items, 'cache')).toBe(bytesOf(whole, 'cache'))
        // What stays is mapped from its first to its last byte.
        const all = sum(header.tensors.map(({ bytes }) => bytes))
        expect(bytesOf(items, 'weights', -1)).toBeLessThanOrEqual(bytesOf(whole, 'weights', -1))
        expect(bytesOf(items, 'weights')).toBeGreaterThanOrEqual(all)
      }
    })

    test('several cards hold together what one does', () => {
      for (const gpuLayers of [1, 2, layers, layers + 1]) {
        const one = estimateMemory(header, { context: 1024, gpuLayers }).items
        const split = [3, 2, 1]
        const { items } = estimateMemory(header, { context: 1024, gpuLayers, tensorSplit: split })
        const { layers: devices, output } = layoutOf(layers, { gpuLayers, tensorSplit: split })
        for (const use of ['weights', 'cache'] as const) {
          const each = split.map((_, i) => bytesOf(items, use, i))
          expect(sum(each)).toBe(bytesOf(one, use, 0))
        }
        for (const i of split.keys())
          expect(bytesOf(items, 'weights', i), `card ${i}`).toBe(
            onCard((layer) => devices[layer] === i, output === i),
          )
      }
    })

    test('experts that stay are what the card has less', () => {
      const all = layers + 1
      for (let cpuExpertLayers = 0; cpuExpertLayers <= layers; cpuExpertLayers++) {
        const { items } = estimateMemory(header, { context: 1024, gpuLayers: all, cpuExpertLayers })
        const left = onCard(
          () => true,
          true,
          (layer) => layer >= cpuExpertLayers,
        )
        expect(bytesOf(items, 'weights', 0)).toBe(left)
      }
    })
  },
)

test('cards are named by how many there are of each', () => {
  const named = (...names: string[]) =>
    cardNames({ gpus: names.map((description) => ({ description })) as never })
  expect(named('A', 'B', 'A')).toBe('2 x A, B')
  expect(named('')).toBe('')
})
