/**
 * Coordinate descent on the codes of a codebook: a vector of four or eight codes is set to the entry and signs that minimize the error with
 * all other numbers of the row fixed. In units of the scale, with o the unrounded optimum of the vector and H its part of the metric, the
 * error of a vector c is (c - o)' H (c - o). Entries are ranked by the diagonal of H; the exact error decides among the best of them and the
 * present codes, so it never grows.
 */
import { signedTogether } from '../formats/codebooks/codebook.js'
import type { Codebook } from '../formats/format.js'
import { inDescent, kernel } from './descent.js'

/** Entries whose exact errors are computed. */
const finalists = 8

/** The vectors of a panel of columns. */
export class Vectors {
  private readonly size: number
  private readonly count: number
  /** For every vector and entry, sum of H_jj e_j^2. */
  private readonly norms: Float32Array
  /** Lower triangle of the Cholesky factor of every vector's part of H, (size, size). */
  private readonly factors: Float64Array
  /** The codes of eight columns, and half the gradient in units of the scale. */
  private readonly now = new Float64Array(signedTogether)
  private readonly slope = new Float64Array(signedTogether)
  private readonly wanted = new Float64Array(signedTogether)
  private readonly negative = new Uint8Array(signedTogether)
  private readonly pull = new Float64Array(signedTogether)
  private readonly trial = new Float64Array(signedTogether)
  private readonly best = new Float64Array(signedTogether)
  private readonly ranks = new Float64Array(finalists)
  private readonly ranked = new Int32Array(finalists)

  /** @param width columns of the panel, whose part of H is in the kernel's memory */
  constructor(
    private readonly codebook: Codebook,
    private readonly width: number,
  ) {
    const { size, entries } = codebook
    this.size = size
    this.count = entries.length / size
    this.norms = new Float32Array((width / size) * this.count)
    this.factors = new Float64Array(width * size)
    const { diagonal } = inDescent
    for (let column = 0, at = 0; column < width; column += size) {
      for (let entry = 0; entry < entries.length; entry += size, at++) {
        let sum = 0
        for (let j = 0; j < size; j++) sum += diagonal[column + j] * entries[entry + j] ** 2
        this.norms[at] = sum
      }
      this.factorize(column)
    }
  }

  private factorize(column: number): void {
    const { size, width, factors } = this
    const base = column * size
    for (let i = 0; i < size; i++)
      for (let j = 0; j <= i; j++) {
        let sum = inDescent.block[(column + i) * width + column + j]
        for (let k = 0; k < j; k++) sum -= factors[base + i * size + k] * factors[base + j * size + k]
        // H is damped; rounding may still take a little from a tiny pivot.
        factors[base + i * size + j] =
          i === j
            ? Math.sqrt(Math.max(sum, 1e-9 * inDescent.diagonal[column + i]))
            : sum / factors[base + j * size + j]
      }
  }

  /** Sets the codes of the columns from `from` to `to`, exclusive, which are multiples of eight and share a scale. */
  improve(from: number, to: number, scale: number): void {
    for (let column = from; column < to; column += signedTogether) this.improveEight(column, scale)
  }

  private improveEight(column: number, scale: number): void {
    const { now, slope, size, codebook } = this
    const { codes, direction } = inDescent
    for (let i = 0; i < signedTogether; i++) {
      now[i] = codes[column + i]
      slope[i] = inDescent.slope[column + i] / scale
    }
    for (let i = 0; i < signedTogether; i += size) this.improveVector(column, i)
    if (codebook.evenSigns) this.improveSigns(column)
    let moved = false
    for (let i = 0; i < signedTogether; i++) {
      const by = now[i] - codes[column + i]
      direction[column + i] = scale * by
      codes[column + i] = now[i]
      if (by !== 0) moved = true
    }
    if (!moved) return
    kernel.spread(column, column + signedTogether, this.width, 0, this.width)
    kernel.advance(column, column + signedTogether, this.width, 1)
  }

  /** Sets the codes `first` to `first + size` of the eight from `column` on. */
  private improveVector(column: number, first: number): void {
    const { size, now, best, trial } = this
    const base = (column + first) * size
    this.findOptimum(base, first)
    const flipped = this.chooseSigns(column, first)
    this.rank(column + first)
    for (let i = 0; i < size; i++) best[i] = trial[i] = now[first + i]
    let least = this.errorOf(base, Number.POSITIVE_INFINITY)
    let found = false
    for (let k = 0; k < finalists; k++) {
      this.place(column + first, this.ranked[k], flipped)
      const error = this.errorOf(base, least)
      if (error >= least) continue
      least = error
      best.set(trial)
      found = true
    }
    if (!found) return
    for (let i = 0; i < size; i++) this.set(column, first + i, best[i])
  }

  /** The optimum of a vector with all others fixed: its codes less H^-1 times half the gradient. */
  private findOptimum(base: number, first: number): void {
    const { size, factors, slope, now, wanted, trial } = this
    for (let i = 0; i < size; i++) {
      let sum = slope[first + i]
      for (let k = 0; k < i; k++) sum -= factors[base + i * size + k] * trial[k]
      trial[i] = sum / factors[base + i * size + i]
    }
    for (let i = size - 1; i >= 0; i--) {
      let sum = trial[i]
      for (let k = i + 1; k < size; k++) sum -= factors[base + k * size + i] * wanted[k]
      wanted[i] = sum / factors[base + i * size + i]
    }
    for (let i = 0; i < size; i++) wanted[i] = now[first + i] - wanted[i]
  }

  /**
   * The signs of the optimum, and what each magnitude gains by them. Where signs are even and these are not, the weight that pulls least
   * takes the other sign.
   * @returns whether one has it
   */
  private chooseSigns(column: number, first: number): boolean {
    const { size, wanted, negative, pull, now, codebook } = this
    let odd = 0
    for (let i = 0; i < size; i++) {
      negative[i] = wanted[i] < 0 ? 1 : 0
      odd ^= negative[i]
      pull[i] = 2 * inDescent.diagonal[column + first + i] * Math.abs(wanted[i])
    }
    if (!codebook.evenSigns) return false
    for (let i = 0; i < signedTogether; i++) if ((i < first || i >= first + size) && now[i] < 0) odd ^= 1
    if (odd === 0) return false
    let weakest = 0
    for (let i = 1; i < size; i++) if (pull[i] < pull[weakest]) weakest = i
    pull[weakest] = -pull[weakest]
    return true
  }

  /** Ranks the entries for the vector of a column by the diagonal of H. */
  private rank(column: number): void {
    const { size, count, norms, pull, ranks, ranked } = this
    const { entries } = this.codebook
    ranks.fill(Number.POSITIVE_INFINITY)
    const [a, b, c, d, e, f, g, h] = pull
    const base = (column / size) * count
    let worst = Number.POSITIVE_INFINITY
    for (let entry = 0, at = 0; entry < count; entry++, at += size) {
      let rank = norms[base + entry] - a * entries[at] - b * entries[at + 1]
      rank -= c * entries[at + 2] + d * entries[at + 3]
      if (size === 8) {
        rank -= e * entries[at + 4] + f * entries[at + 5]
        rank -= g * entries[at + 6] + h * entries[at + 7]
      }
      if (rank >= worst) continue
      let k = finalists - 1
      for (; k > 0 && ranks[k - 1] > rank; k--) {
        ranks[k] = ranks[k - 1]
        ranked[k] = ranked[k - 1]
      }
      ranks[k] = rank
      ranked[k] = entry
      worst = ranks[finalists - 1]
    }
  }

  /** Writes an entry with its signs to `trial`; with odd signs, that of the weight for which it matters least is the other one. */
  private place(column: number, entry: number, flipped: boolean): void {
    const { size, trial, negative, wanted } = this
    const { entries } = this.codebook
    let [weakest, least] = [-1, Number.POSITIVE_INFINITY]
    for (let i = 0; i < size; i++) {
      const magnitude = entries[entry * size + i]
      trial[i] = negative[i] ? -magnitude : magnitude
      const cost = magnitude * Math.abs(wanted[i]) * inDescent.diagonal[column + i]
      if (cost >= least) continue
      least = cost
      weakest = i
    }
    if (flipped && weakest >= 0) trial[weakest] = -trial[weakest]
  }

  /** (c - o)' H (c - o) of `trial`, or a number of at least `limit` as soon as it is known to be that large. */
  private errorOf(base: number, limit: number): number {
    const { size, factors, trial, wanted } = this
    let total = 0
    for (let k = size - 1; k >= 0; k--) {
      let sum = 0
      for (let i = k; i < size; i++) sum += factors[base + i * size + k] * (trial[i] - wanted[i])
      total += sum * sum
      if (total >= limit) return total
    }
    return total
  }

  /** Changes the signs of two of eight codes at once where that lowers the error. */
  private improveSigns(column: number): void {
    const { now, slope, width } = this
    const { block } = inDescent
    for (let i = 0; i < signedTogether; i++)
      for (let j = i + 1; j < signedTogether; j++) {
        const [a, b] = [-2 * now[i], -2 * now[j]]
        const row = (column + i) * width + column
        const own = a * a * block[row + i] + b * b * block[(column + j) * width + column + j]
        const descent = 2 * (a * slope[i] + b * slope[j])
        if (descent + own + 2 * a * b * block[row + j] >= -1e-6 * own) continue
        this.set(column, i, -now[i])
        this.set(column, j, -now[j])
      }
  }

  /** Sets the `i`-th of the eight codes from `column` on, and updates the slopes of these eight. */
  private set(column: number, i: number, code: number): void {
    const { now, slope, width } = this
    const by = code - now[i]
    if (by === 0) return
    now[i] = code
    const row = (column + i) * width + column
    for (let k = 0; k < signedTogether; k++) slope[k] += by * inDescent.block[row + k]
  }
}
