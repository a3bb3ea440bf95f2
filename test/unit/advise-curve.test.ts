/** The fitted curve: it finds what data was made by, draws towards a known model, and foretells families that it has not seen. */
import { describe, expect, test } from 'vitest'
import { loadCatalogue } from '../../src/advise/catalogue/catalogue.js'
import { type CurveRow, fitCurve, intervalOf } from '../../src/advise/quality/curve.js'
import { coverage, curveRows, leaveOneOut } from '../../src/advise/quality/rows.js'
import { Random } from '../../src/random.js'

/** Losses of models that differ by a factor each, with errors of single files. */
function made(models: number, between: number, within: number): CurveRow[] {
  const random = new Random(3)
  const noise = () => random.normal()
  return Array.from({ length: models }, (_, i) => {
    const shift = between * noise()
    return [2.5, 3.2, 4, 4.9, 5.7, 6.6, 8.5].map((bitsPerWeight): CurveRow => {
      const x = bitsPerWeight - 5
      const log = -4 - 1.1 * x + 0.1 * x * x + shift + within * noise()
      return { model: `m${i}`, parameters: 1e10, bitsPerWeight, imatrix: false, kld: Math.exp(log) }
    })
  }).flat()
}

describe('the fit', () => {
  test('finds the slope, the curvature and both deviations', () => {
    const curve = fitCurve(made(40, 0.6, 0.2))
    expect(curve.coefficients[1]).toBeCloseTo(-1.1, 1)
    expect(curve.coefficients[2]).toBeCloseTo(0.1, 1)
    expect(curve.betweenModels).toBeGreaterThan(0.45)
    expect(curve.betweenModels).toBeLessThan(0.8)
    expect(curve.withinModel).toBeGreaterThan(0.15)
    expect(curve.withinModel).toBeLessThan(0.26)
  })

  test('known losses of a model draw its estimates towards them, and make them surer', () => {
    const rows = made(12, 0.6, 0.1)
    const curve = fitCurve(rows)
    const file = { bitsPerWeight: 4.9, parameters: 1e10, imatrix: false }
    const known = rows
      .filter(({ model, bitsPerWeight }) => model === 'm0' && bitsPerWeight !== 4.9)
      .map((row) => ({ ...row, kld: 5 * row.kld }))
    const before = curve.estimate(file)
    const after = curve.estimate(file, known)
    const truth =
      5 * (rows.find(({ model, bitsPerWeight }) => model === 'm0' && bitsPerWeight === 4.9)?.kld ?? 0)
    expect(after.sd).toBeLessThan(before.sd / 2)
    expect(Math.abs(after.mean - Math.log(truth))).toBeLessThan(0.3)
  })

  test('repeated rows of one kind count once', () => {
    const rows = made(6, 0.5, 0.2)
    const again = fitCurve([...rows, ...rows.slice(0, 7), ...rows.slice(0, 7)])
    expect(again.rows).toBe(rows.length)
    expect(again.coefficients).toEqual(fitCurve(rows).coefficients)
  })

  test('an interval holds four fifths of new files of new models', () => {
    const rows = made(120, 0.6, 0.2)
    const curve = fitCurve(rows.slice(0, 20 * 7))
    const held = rows.slice(20 * 7).filter((row) => {
      const [low, high] = intervalOf(curve.estimate(row))
      return low <= row.kld && row.kld <= high
    })
    expect(held.length / (100 * 7)).toBeGreaterThan(0.68)
    expect(held.length / (100 * 7)).toBeLessThan(0.92)
  })
})

describe('the catalogue', () => {
  test('rows against other references, of QAT and of other measures are on no curve', async () => {
    const { losses, types } = await loadCatalogue()
    const other = losses.map((loss, i) =>
      i % 4 === 0
        ? { ...loss, reference: 'qat' as const }
        : i % 4 === 1
          ? { ...loss, reference: 'q8_0' as const }
          : i % 4 === 2
            ? { ...loss, qat: true }
            : { ...loss, measure: 'top 40' as const },
    )
    expect(curveRows({ losses: other, types })).toEqual([])
    expect(curveRows({ losses, types }).length).toBeGreaterThan(60)
  })

  test('the 80 % interval holds at least 65 % of the losses of a family that was left out', async () => {
    const left = leaveOneOut(curveRows(await loadCatalogue()))
    expect(left.length).toBeGreaterThanOrEqual(8)
    for (const { rows } of left) expect(rows).toBeGreaterThanOrEqual(3)
    expect(coverage(left)).toBeGreaterThanOrEqual(0.65)
  })
})
