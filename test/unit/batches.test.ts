/** Batches of windows: every token once and in order, every scored position gives a row, limits hold. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { batches } from '../../src/evaluate/batches.js'
import type { Window } from '../../src/evaluate/windows.js'

const window = fc
  .tuple(fc.integer({ min: 2, max: 20 }), fc.array(fc.boolean(), { minLength: 20, maxLength: 20 }))
  .map(([length, mask]): Window => {
    const positions = Int32Array.from(Array.from({ length: length - 1 }, (_, p) => p).filter((p) => mask[p]))
    return {
      tokens: Int32Array.from({ length }, (_, i) => 100 * length + i),
      positions,
      documents: positions.map((p) => p + 1000),
    }
  })

test('whatever the windows and the limits', () => {
  const group = fc.array(window, { minLength: 1, maxLength: 5 })
  fc.assert(
    fc.property(
      group,
      fc.integer({ min: 5, max: 40 }),
      fc.integer({ min: 5, max: 12 }),
      (windows, most, rows) => {
        const run = windows.map((): number[] => [])
        const scored = windows.map((): number[] => [])
        for (const batch of batches(windows, most, rows)) {
          expect(batch.tokens.length).toBeLessThanOrEqual(most)
          expect(batch.targets.length).toBeLessThanOrEqual(rows)
          let row = 0
          for (const [i, g] of batch.sequenceIds.entries()) {
            const position = batch.positions[i]
            expect(batch.tokens[i]).toBe(windows[g].tokens[position])
            expect(position).toBe(run[g].length)
            run[g].push(position)
            if (batch.logits[i] === 0) continue
            expect(batch.rowWindows[row]).toBe(g)
            expect(batch.targets[row]).toBe(windows[g].tokens[position + 1])
            expect(batch.documents[row]).toBe(position + 1000)
            scored[g].push(position)
            row++
          }
          expect(row).toBe(batch.targets.length)
        }
        for (const [g, { positions }] of windows.entries()) {
          expect(scored[g]).toEqual([...positions])
          expect(run[g]).toHaveLength((positions.at(-1) ?? -1) + 1)
        }
      },
    ),
  )
})
