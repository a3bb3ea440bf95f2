/** Rows of the catalogue that the curve is fitted to, and how well it foretells a model that it has not seen. */
import type { Catalogue, PublishedLoss } from '../catalogue/types.js'
import { type Curve, type CurveRow, fitCurve, intervalOf } from './curve.js'

/**
 * Losses that belong on one curve: against the model's own 16-bit weights, over the whole vocabulary, without training, of
 * types that llama.cpp has and that the file really holds.
 */
export function curveRows({ losses, types }: Pick<Catalogue, 'losses' | 'types'>): CurveRow[] {
  return losses.flatMap((loss) => {
    const size = types.find(({ type }) => type === loss.type)
    if (!size || !belongs(loss)) return []
    return [
      {
        model: loss.family,
        kld: loss.kld,
        parameters: loss.parameters as number,
        bitsPerWeight: size.bitsPerWeight,
        imatrix: loss.imatrix ?? (size.needsImatrix ? true : undefined),
        legacy: size.legacy ?? false,
      },
    ]
  })
}

const curves = new WeakMap<object, Curve>()

/** The curve of a catalogue, which is fitted once. */
export function curveOf(catalogue: Catalogue): Curve {
  const curve = curves.get(catalogue) ?? fitCurve(curveRows(catalogue))
  curves.set(catalogue, curve)
  return curve
}

/** Smaller models are for tests, and lose a small part of what real ones do. */
export const leastParameters = 1e8

const belongs = ({ reference, measure, qat, fallback, parameters }: PublishedLoss): boolean =>
  reference === 'original' && measure === 'full' && !qat && !fallback && (parameters ?? 0) >= leastParameters

/** Figures of one family, foretold by a curve that was fitted to all others. */
export interface LeftOut {
  readonly model: string
  readonly rows: number
  /** Rows within the 80 % interval. */
  readonly held: number
  /** Geometric mean of measured / foretold loss. */
  readonly bias: number
  readonly foretold: readonly { readonly row: CurveRow; readonly interval: readonly [number, number] }[]
}

/** Leaves out each family with at least `least` rows. */
export function leaveOneOut(rows: readonly CurveRow[], least = 3): LeftOut[] {
  const models = [...new Set(rows.map(({ model }) => model))]
  return models.flatMap((model) => {
    const own = rows.filter((row) => row.model === model)
    if (own.length < least) return []
    const curve = fitCurve(rows.filter((row) => row.model !== model))
    const foretold = own.map((row) => ({ row, interval: intervalOf(curve.estimate(row)) }))
    const held = foretold.filter(({ row: { kld }, interval: [low, high] }) => low <= kld && kld <= high)
    const logs = own.map((row) => Math.log(row.kld) - curve.estimate(row).mean)
    const bias = Math.exp(logs.reduce((a, b) => a + b, 0) / own.length)
    return [{ model, rows: own.length, held: held.length, bias, foretold }]
  })
}

/** The share of rows within their interval, averaged over families. */
export const coverage = (left: readonly LeftOut[]): number =>
  left.reduce((sum, { held, rows }) => sum + held / rows, 0) / left.length
