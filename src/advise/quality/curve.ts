/**
 * The fitted curve: what a type costs a model for which nobody has measured it.
 *
 *   ln KLD = b0 + b1 x + b2 x^2 + b3 importance + b4 legacy + b5 size + u(model) + e,   x = bits per weight - 5
 *
 * u is what a model (with its text and tool) loses more or less than others at every type, e what a single file does; both are
 * normal. Their standard deviations are uncertain with a handful of models, so estimates are averaged over all pairs of them, by
 * their restricted likelihood. A quadratic, since each further bit
 * divides the loss by less at 8 bits than at 3. The effect of an importance matrix grows with the bits that are missing. Losses
 * of one model that are known draw its curve towards them, as far as the two deviations say (the best linear unbiased
 * prediction of a mixed model; Robinson 1991, "That BLUP is a good thing").
 */
import { studentTail } from '../../evaluate/statistics.js'

/** What the curve knows of a file. */
export interface CurveFile {
  /** Of a whole file of this type, as in the catalogue. */
  readonly bitsPerWeight: number
  readonly parameters: number
  /** Undefined if not known. */
  readonly imatrix?: boolean | undefined
  /** One of the types before K-quants. */
  readonly legacy?: boolean | undefined
}

/** A measured loss. */
export interface CurveRow extends CurveFile {
  /** The model that was measured. */
  readonly model: string
  /** Nats per token. */
  readonly kld: number
}

/** ln KLD with the standard deviation of a new measurement. */
export interface CurveEstimate {
  readonly mean: number
  readonly sd: number
  /** Of Student's t. */
  readonly degrees: number
}

export interface Curve {
  readonly coefficients: readonly number[]
  /** Standard deviation between models, in ln KLD. */
  readonly betweenModels: number
  /** Standard deviation within a model. */
  readonly withinModel: number
  readonly models: number
  readonly rows: number
  /** The expected loss of a file. @param known losses of the same model */
  estimate(file: CurveFile, known?: readonly CurveRow[]): CurveEstimate
}

/** An importance matrix is taken for half of the files of which nobody says. */
const unknownImatrix = 0.5

function features({ bitsPerWeight, parameters, imatrix, legacy }: CurveFile): number[] {
  const x = bitsPerWeight - 5
  const importance = imatrix === undefined ? unknownImatrix : Number(imatrix)
  return [
    1,
    x,
    x * x,
    importance * Math.max(0, 7 - bitsPerWeight),
    Number(legacy ?? false),
    Math.log10(parameters) - 10,
  ]
}

/**
 * Precision of a normal prior about 0 of each coefficient. Only that of the size is informative: a handful of models says
 * little about it, and a factor of e for ten times the size is already much.
 */
const priors = [1e-6, 1e-6, 1e-6, 1, 1, 10]

/** Fits the curve. Rows of one model and equal features count once, with their geometric mean. @throws RangeError below two models */
export function fitCurve(rows: readonly CurveRow[]): Curve {
  const groups = groupsOf(rows)
  if (groups.length < 2) throw new RangeError('a curve needs losses of two models')
  const fits = deviations.flatMap((between) => deviations.map((within) => curveWith(groups, between, within)))
  const best = fits.reduce((a, b) => (b.deviance < a.deviance ? b : a))
  const likely = fits
    .map((one) => ({ one, weight: Math.exp((best.deviance - one.deviance) / 2) }))
    .filter(({ weight }) => weight > 0.01)
  const total = likely.reduce((sum, { weight }) => sum + weight, 0)
  return {
    coefficients: best.coefficients,
    betweenModels: best.between,
    withinModel: best.within,
    models: groups.length,
    rows: groups.reduce((sum, { n }) => sum + n, 0),
    estimate(file, known = []) {
      const each = likely.map(({ one, weight }) => ({
        ...predicted(one, file, known),
        share: weight / total,
      }))
      const mean = each.reduce((sum, { share, mean: own }) => sum + share * own, 0)
      const variance = each.reduce(
        (sum, { share, mean: own, variance: spread }) => sum + share * (spread + (own - mean) ** 2),
        0,
      )
      return { mean, sd: Math.sqrt(variance), degrees: groups.length - 1 }
    },
  }
}

/** From 0.1 to 2.5, each a quarter larger than the one before. */
const deviations = Array.from({ length: 15 }, (_, i) => 0.1 * 1.25 ** i)

/** ln KLD of a file by one pair of deviations, with its variance. */
function predicted(
  { coefficients, inverse, between, within }: Fit,
  file: CurveFile,
  known: readonly CurveRow[],
): { mean: number; variance: number } {
  const x = features(file)
  const ofCoefficients = dot(
    x,
    inverse.map((row) => dot(row, x)),
  )
  const { n, sums, total } = asGroup(known)
  const shrink = n === 0 ? 0 : (n * between ** 2) / (n * between ** 2 + within ** 2)
  const residuals = total - dot(sums, coefficients)
  return {
    mean: dot(x, coefficients) + (n === 0 ? 0 : (shrink * residuals) / n),
    variance: ofCoefficients + between ** 2 * (1 - shrink) + within ** 2,
  }
}

/** Sums over the rows of a model, which are all that a fit needs. */
interface Group {
  readonly n: number
  /** X'X */
  readonly products: readonly (readonly number[])[]
  /** X'1 */
  readonly sums: readonly number[]
  /** X'y */
  readonly withLosses: readonly number[]
  /** 1'y */
  readonly total: number
  /** y'y */
  readonly squares: number
}

function groupsOf(rows: readonly CurveRow[]): Group[] {
  const models = new Map<string, CurveRow[]>()
  for (const row of rows) models.set(row.model, [...(models.get(row.model) ?? []), row])
  return [...models.values()].map(asGroup)
}

function asGroup(rows: readonly CurveRow[]): Group {
  const distinct = merged(rows)
  const x = distinct.map(features)
  const y = distinct.map(({ kld }) => Math.log(kld))
  const column = (i: number): number[] => x.map((row) => row[i])
  return {
    n: y.length,
    products: priors.map((_, i) => priors.map((__, j) => dot(column(i), column(j)))),
    sums: priors.map((_, i) => column(i).reduce((a, b) => a + b, 0)),
    withLosses: priors.map((_, i) => dot(column(i), y)),
    total: y.reduce((a, b) => a + b, 0),
    squares: dot(y, y),
  }
}

/** Repeated measurements of one kind of file say no more of the curve than one. */
function merged(rows: readonly CurveRow[]): CurveRow[] {
  const alike = new Map<string, CurveRow[]>()
  for (const row of rows) {
    const key = features(row).join()
    alike.set(key, [...(alike.get(key) ?? []), row])
  }
  return [...alike.values()].map((same) => ({
    ...same[0],
    kld: Math.exp(same.reduce((sum, { kld }) => sum + Math.log(kld), 0) / same.length),
  }))
}

interface Fit {
  readonly coefficients: number[]
  /** Covariance of the coefficients. */
  readonly inverse: number[][]
  readonly between: number
  readonly within: number
  /** -2 ln of the restricted likelihood. */
  readonly deviance: number
}

/**
 * Generalized least squares with these deviations. V of a model is within^2 I + between^2 11', so V^-1 = (I - r 11') /
 * within^2 with r = between^2 / (within^2 + n between^2).
 */
function curveWith(groups: readonly Group[], between: number, within: number): Fit {
  const normal = priors.map((precision, i) => priors.map((_, j) => (i === j ? precision : 0)))
  const right = priors.map(() => 0)
  let deviance = 0
  const shareOf = (n: number): number => between ** 2 / (within ** 2 + n * between ** 2)
  for (const { n, products, sums, withLosses, total } of groups) {
    const r = shareOf(n)
    for (const [i, row] of normal.entries()) {
      for (const j of row.keys()) row[j] += (products[i][j] - r * sums[i] * sums[j]) / within ** 2
      right[i] += (withLosses[i] - r * sums[i] * total) / within ** 2
    }
    deviance += (n - 1) * Math.log(within ** 2) + Math.log(within ** 2 + n * between ** 2)
  }
  const { inverse, logDeterminant } = inverted(normal)
  const coefficients = inverse.map((row) => dot(row, right))
  for (const { n, products, sums, withLosses, total, squares } of groups) {
    const fittedSquares = dot(
      coefficients,
      products.map((row) => dot(row, coefficients)),
    )
    const residuals = squares - 2 * dot(coefficients, withLosses) + fittedSquares
    deviance += (residuals - shareOf(n) * (total - dot(sums, coefficients)) ** 2) / within ** 2
  }
  deviance += logDeterminant + coefficients.reduce((sum, b, i) => sum + priors[i] * b * b, 0)
  return { coefficients, inverse, between, within, deviance }
}

/** Inverse of a symmetric positive definite matrix by Gauss-Jordan elimination, and the logarithm of its determinant. */
function inverted(matrix: readonly (readonly number[])[]): { inverse: number[][]; logDeterminant: number } {
  const n = matrix.length
  const rows = matrix.map((row, i) => [...row, ...row.map((_, j) => (i === j ? 1 : 0))])
  let logDeterminant = 0
  for (let i = 0; i < n; i++) {
    const pivot = rows[i][i]
    logDeterminant += Math.log(pivot)
    rows[i] = rows[i].map((value) => value / pivot)
    for (let k = 0; k < n; k++) {
      if (k === i) continue
      const factor = rows[k][i]
      rows[k] = rows[k].map((value, j) => value - factor * rows[i][j])
    }
  }
  return { inverse: rows.map((row) => row.slice(n)), logDeterminant }
}

const dot = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((sum, value, i) => sum + value * b[i], 0)

/** Share of losses that an interval should hold. */
const intervalShare = 0.8

/** The interval of a loss in nats per token that holds 80 % of them. */
export function intervalOf({ mean, sd, degrees }: CurveEstimate): [low: number, high: number] {
  const half = point(degrees) * sd
  return [Math.exp(mean - half), Math.exp(mean + half)]
}

/** The point of Student's t beyond which, on both sides, 20 % lie; beyond 100 degrees of freedom the normal one. */
function point(degrees: number): number {
  if (degrees > 100) return 1.2816
  let [low, high] = [1, 4]
  while (high - low > 1e-6) {
    const middle = (low + high) / 2
    if (studentTail(middle, degrees) > 1 - intervalShare) low = middle
    else high = middle
  }
  return high
}
