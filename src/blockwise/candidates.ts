/**
 * A matrix is rounded in up to three ways, of which errors on held-out tokens choose:
 *
 *   as it was     the reference quantizer's codes, as in the whole model
 *   solved        a least-squares target, scales that are searched for, compensated rounding and coordinate descent (start.ts,
 *                 gptq.ts, refine.ts): taken if it has a smaller error
 *   importance    the reference quantizer's codes, with errors weighted by the second moments of this matrix's inputs: tried if it has
 *                 not, and rarely better otherwise (LOG.md)
 *
 * Few tokens say little about a wide matrix, and the correlations that they show are mostly noise. So moments are shrunk towards their
 * diagonals, which few tokens estimate well, and held-out tokens set the length of the step to the least-squares target. With fewer
 * tokens the solution approaches that of the importances alone.
 */

import type { ErrorSums } from '../backends/products.js'
import type { Multiplier } from '../backends/triangular.js'
import type { Codes, Format } from '../formats/format.js'
import { gridOf, layoutOf } from '../formats/grids.js'
import type { InputFactor } from './factor.js'
import { roundCompensated } from './gptq.js'
import { type RunPart, untimed } from './parts.js'
import { refine } from './refine.js'
import type { RowPool } from './row-pool.js'
import { importanceCodes, searchedCodes } from './start.js'

/** The means of linear algebra: matrix products, and threads for rows. */
export interface Compute {
  readonly products: Multiplier & ErrorSums
  readonly rows: RowPool
  /** Runs every part of the work, to time it. */
  readonly run?: RunPart
}

/** Held-out tokens that decide: X, (tokens, in), Y, (tokens, out), and the tokens at which their kinds of text begin and end. */
export interface Trial {
  readonly tokens: number
  readonly inputs: Float32Array
  /** Without it, the target is the product of the full-precision matrix. */
  readonly target?: Float32Array
  readonly bounds: readonly number[]
}

/** Statistics that a matrix is solved from. */
export interface Evidence {
  /** X'X shrunk towards its diagonal, (in, in), and a factor of it. */
  readonly metric: Float32Array
  readonly factor: InputFactor
  /** X'X without shrinkage. */
  readonly inputs: Float32Array
  /** The least-squares step from the matrix, (out, in); without it, the target is the matrix itself. */
  readonly step?: () => Promise<Float32Array>
  /** Damped second moments of the loss's gradients at the outputs, (out, out); without them, all outputs have the same weight. */
  readonly outputs?: Float32Array | undefined
}

export type Choice = 'as it was' | 'importance' | 'solved'

/** A matrix on its grid, with the latents that training would start from. */
export interface Chosen {
  readonly choice: Choice
  readonly codes: Codes
  readonly optimum: Float32Array
  /** Squared error on the trial's tokens relative to that of the matrix as it was, mean over kinds. */
  readonly error: number
}

/** Most elements of a product at once, for matrices with many rows. */
const rowsOfProducts = 1 << 24

/** Sweeps over all columns of a matrix; the first two gain most (LOG.md). */
const sweeps = 3

/**
 * @param weights in full precision, (out, in)
 * @param present the matrix's codes as they are
 */
export async function chooseCodes(
  format: Format,
  weights: Float32Array,
  present: Codes,
  evidence: Evidence,
  trial: Trial,
  compute: Compute,
): Promise<Chosen> {
  const judge = new Judge(weights, trial, evidence.outputs, compute.products)
  const { run = untimed } = compute
  const errorsOf = (codes: Codes) =>
    run('line search and choice', () => judge.errors(format.dequantize(codes)))
  const before = await errorsOf(present)
  const judged = async (candidate: Candidate): Promise<Chosen> => ({
    ...candidate,
    error: meanShare(await errorsOf(candidate.codes), before),
  })
  const solution = await judged({
    choice: 'solved',
    ...(await solve(format, weights, evidence, judge, compute)),
  })
  if (solution.error < 1) return solution
  const importance = diagonalOf(evidence.inputs)
  const weighed = await run('reference codes', () => importanceCodes(format, weights, importance))
  const candidates: Chosen[] = [
    { choice: 'as it was', codes: present, optimum: weights, error: 1 },
    await judged({ choice: 'importance', codes: weighed, optimum: weights }),
    solution,
  ]
  // If activations overflow f32, all errors are NaN and the matrix stays as it was.
  return candidates.reduce((best, candidate) => (candidate.error < best.error ? candidate : best))
}

interface Candidate {
  readonly choice: Choice
  readonly codes: Codes
  readonly optimum: Float32Array
}

function diagonalOf(square: Float32Array): Float32Array {
  const n = Math.sqrt(square.length)
  return Float32Array.from({ length: n }, (_, i) => square[i * n + i])
}

/** Rounds the least-squares target, as far towards it as the trial's tokens allow. @throws RangeError for a format without a grid */
async function solve(
  format: Format,
  weights: Float32Array,
  { metric, factor, inputs, step, outputs }: Evidence,
  judge: Judge,
  { products, rows, run = untimed }: Compute,
): Promise<{ codes: Codes; optimum: Float32Array }> {
  const grid = layoutOf(format)
  if (!grid) throw new RangeError(`${format.name} has nothing to solve for`)
  let target = weights
  if (step) {
    const whole = await run('least squares', step)
    target = await run('line search and choice', () => stepped(weights, whole, judge))
  }
  const found = await run('scale search', () => searchedCodes(format, target, diagonalOf(inputs), rows))
  // The codes of a codebook depend on each other, so they begin as the reference quantizer chooses them.
  const q = grid.codebook
    ? found.q
    : await run('rounding', () => roundCompensated(target, gridOf(grid, found), factor, products, rows))
  const codes = { ...found, q }
  const start = format.dequantize(codes)
  const metrics = { inputs: metric, ...(outputs && { outputs }) }
  const optimum = await run('descent', () =>
    refine(codes, grid, target, start, metrics, sweeps, products, rows),
  )
  return { codes, optimum }
}

/** Goes along a step by the length that is best on the trial's tokens. */
async function stepped(weights: Float32Array, step: Float32Array, judge: Judge): Promise<Float32Array> {
  const length = await judge.lengthOf(weights, step)
  return weights.map((w, i) => w + length * step[i])
}

/** Errors of matrices on the tokens of a trial. */
class Judge {
  private readonly n: number

  constructor(
    private readonly weights: Float32Array,
    private readonly trial: Trial,
    private readonly outputs: Float32Array | undefined,
    private readonly products: ErrorSums,
  ) {
    this.n = trial.inputs.length / trial.tokens
  }

  /** Squared error, in the metric of the outputs, by kind. */
  async errors(matrix: Float32Array): Promise<number[]> {
    const { trial, outputs } = this
    const { inputs, target } = trial
    if (!target) return this.errorsOfChange(matrix)
    return this.byKind(
      await this.products.errors(inputs, matrix, this.shape(matrix), { target, metric: outputs }),
    )
  }

  /** Squared change of the products, some rows at a time: the output matrix of a large vocabulary has many. */
  private async errorsOfChange(matrix: Float32Array): Promise<number[]> {
    const { n, trial, weights } = this
    const sums = trial.bounds.slice(1).map(() => 0)
    const rows = Math.max(1, Math.floor(rowsOfProducts / trial.tokens))
    for (let from = 0; from < matrix.length; from += rows * n) {
      const change = matrix.slice(from, from + rows * n)
      for (let i = 0; i < change.length; i++) change[i] -= weights[from + i]
      const errors = await this.products.errors(trial.inputs, change, this.shape(change))
      for (const [kind, sum] of this.byKind(errors).entries()) sums[kind] += sum
    }
    return sums
  }

  /**
   * The length of a step from `weights` that minimizes the error, from 0 to 1. The error of each kind counts relative to that
   * without a step.
   */
  async lengthOf(weights: Float32Array, step: Float32Array): Promise<number> {
    const { trial, outputs, products } = this
    const { inputs, target } = trial
    if (!target) throw new RangeError('there is nothing to go towards')
    const sums = await products.stepErrors(inputs, weights, step, this.shape(weights), {
      target,
      metric: outputs,
    })
    const [before, both, own] = [sums.before, sums.both, sums.own].map((rows) => this.byKind(rows))
    let [along, square] = [0, 0]
    for (const [kind, base] of before.entries()) {
      if (!(base > 0)) continue
      along += both[kind] / base
      square += own[kind] / base
    }
    return square > 0 ? Math.min(1, Math.max(0, along / square)) : 0
  }

  /** Tokens, inputs and outputs of a product with a matrix. */
  private shape(matrix: Float32Array): [number, number, number] {
    return [this.trial.tokens, this.n, matrix.length / this.n]
  }

  /** Sums of the values of all tokens of a kind. */
  private byKind(values: Float32Array): number[] {
    const { bounds } = this.trial
    return bounds
      .slice(1)
      .map((end, kind) => values.subarray(bounds[kind], end).reduce((sum, value) => sum + value, 0))
  }
}

/** Mean over kinds of the errors relative to `base`. */
function meanShare(errors: readonly number[], base: readonly number[]): number {
  const shares = errors.map((error, kind) => (base[kind] > 0 ? error / base[kind] : error > 0 ? Infinity : 1))
  return shares.reduce((a, b) => a + b, 0) / shares.length
}
