/** Rows of a saved reference: size, divergence from them, and the bound of its error. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type BaseRow, Score, scoreBase, scoreFields, scoreRow } from '../../src/evaluate/divergence.js'
import { encodeRow, type RowLayout, rowLayout, SavedRow } from '../../src/evaluate/references/saved-row.js'
import { BaseScore, baseFields, openBase } from '../../src/evaluate/score-bases.js'
import { Random } from '../../src/random.js'

describe('layout', () => {
  test.each([512, 2048, 4096, 32_000, 65_536, 128_256, 262_144])('at most 2 %% for %d tokens', (size) => {
    const { rowBytes, top, samples, idBytes } = rowLayout(size)
    expect(rowBytes).toBeLessThanOrEqual(0.02 * 2 * size)
    expect(top).toBeGreaterThanOrEqual(2)
    expect(samples).toBeGreaterThanOrEqual(1)
    expect(256 ** idBytes).toBeGreaterThanOrEqual(size)
  })

  test('a vocabulary smaller than a row is kept whole', () => {
    expect(rowLayout(2)).toMatchObject({ top: 2, samples: 0 })
  })
})

const random = new Random(5)
const logitsOf = (size: number) => Float32Array.from({ length: size }, () => 2.5 * random.normal())

/** Divergences of a file's row, against the whole row of the base and against the saved one. */
function both(layout: RowLayout, base: Float32Array, logits: Float32Array, target: number, serial: number) {
  const { size } = layout
  const [weights, topCount] = [new Float32Array(size), Math.min(10, layout.top)]
  const row: BaseRow = { logSumExp: 0, weightSum: 0, topProbability: 0 }
  const top = new Int32Array(topCount)
  scoreBase(base, 0, size, weights, 0, top, row)
  const [exact, saved] = [new Float64Array(scoreFields), new Float64Array(scoreFields)]
  const scratch = new Int32Array(topCount)
  scoreRow({ logits: base, weights, offset: 0, top, row }, logits, 0, size, scratch, target, exact, 0)
  const bytes = new Uint8Array(layout.rowBytes)
  encodeRow(layout, base, row.logSumExp, row.logSumExp - base[target], serial, bytes)
  const reader = new SavedRow(layout)
  expect(reader.decode(bytes)).toBe(true)
  reader.score(logits, 0, size, scratch, target, saved, 0)
  expect(reader.nll).toBeCloseTo(row.logSumExp - base[target], 5)
  expect(reader.topProbability / row.topProbability).toBeCloseTo(1, 3)
  return { exact, saved }
}

test.each([
  [512, 0.05],
  [512, 0.5],
  [4096, 0.02],
  [4096, 0.3],
  [70_000, 0.2],
])('vocabulary %d, logits off by %d: the mean is within its stated bound', (size, noise) => {
  const layout = rowLayout(size)
  const rows = size > 10_000 ? 60 : 400
  const sums = { exact: 0, saved: 0, slack: 0, variance: 0, reversedExact: 0, reversed: 0 }
  for (let i = 0; i < rows; i++) {
    const base = logitsOf(size)
    const logits = base.map((x) => x + noise * random.normal() + 3)
    const { exact, saved } = both(layout, base, logits, random.int(size), i)
    sums.exact += exact[Score.kld]
    sums.saved += saved[Score.kld]
    sums.slack += saved[Score.slack]
    sums.variance += saved[Score.variance]
    sums.reversedExact += exact[Score.reversedKld]
    sums.reversed += saved[Score.reversedKld]
    for (const name of ['nll', 'probability', 'top1'] as const)
      expect(saved[Score[name]]).toBeCloseTo(exact[Score[name]], 6)
  }
  const error = Math.abs(sums.saved - sums.exact) / rows
  const bound = (sums.slack + 4 * Math.sqrt(sums.variance)) / rows
  expect(error).toBeLessThan(bound)
  expect(sums.saved / sums.exact).toBeGreaterThan(0.8)
  expect(sums.saved / sums.exact).toBeLessThan(1.2)
  expect(sums.reversed / sums.reversedExact).toBeGreaterThan(0.8)
  expect(sums.reversed / sums.reversedExact).toBeLessThan(1.2)
})

test('the reference against its own saved row: nearly 0', () => {
  const layout = rowLayout(4096)
  for (let i = 0; i < 20; i++) {
    const base = logitsOf(4096)
    expect(both(layout, base, base, 3, i).saved[Score.kld]).toBeLessThan(1e-7)
  }
})

test('hostile bytes are refused or give numbers, never a read outside', () => {
  const layout = rowLayout(600)
  const bytes = fc.uint8Array({ minLength: layout.rowBytes, maxLength: layout.rowBytes })
  const logits = logitsOf(600)
  fc.assert(
    fc.property(bytes, (row) => {
      const reader = new SavedRow(layout)
      if (!reader.decode(row)) return
      const out = new Float64Array(scoreFields)
      reader.score(logits, 0, 600, new Int32Array(2), 5, out, 0)
      expect(out.every((value) => !Number.isNaN(value))).toBe(true)
    }),
  )
})

test('a row that cannot have been written gives no number', () => {
  const layout = rowLayout(600)
  const [damaged, negative] = [new Uint8Array(layout.rowBytes).fill(0xff), new Uint8Array(layout.rowBytes)]
  new DataView(negative.buffer).setFloat32(0, -1e30, true)
  for (const row of [damaged, negative]) {
    const rows = new SharedArrayBuffer(row.length)
    new Uint8Array(rows).set(row)
    const base = openBase({ kind: 'saved', rows, layout }, 600, 2)
    const [own, scores] = [new Float64Array(baseFields), new Float64Array(scoreFields)]
    base.prepare(0, 5, 0, own, 0)
    base.score(0, logitsOf(600), 0, 5, scores, 0)
    expect(own[BaseScore.nll]).toBeNaN()
    expect(scores[Score.nll]).toBeNaN()
  }
})
