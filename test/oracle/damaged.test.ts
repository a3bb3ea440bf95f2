import { expect, test } from 'vitest'
import { tryDamaged } from '../support/try-damaged.js'

test('a hundred damaged headers are inspected, quantized and evaluated without a crash, a bug or a second line', async () => {
  const seeds = Array.from({ length: 100 }, (_, i) => i + 1)
  const { refused, faults } = await tryDamaged('models/quench-5m-f16.gguf', seeds)
  expect(faults).toEqual([])
  // Most are refused, and a few are sound all the same.
  for (const work of ['quantize', 'eval']) {
    expect(refused[work]).toBeGreaterThan(60)
    expect(refused[work]).toBeLessThan(95)
  }
}, 900_000)
