/**
 * The factor that error-compensating rounding needs, for thousands of inputs: with H = R R' for an upper triangular R, it is
 * U = R^-1, in the order in which columns are rounded. In reversed order, that is the inverse of the usual Cholesky factor:
 * with A the matrix H in reversed order and A = L L', U read backwards is L^-1.
 *
 * Blocks of 128 columns: the triangle on the diagonal in plain loops in f64, the rest as matrix products.
 */
import { QuenchError } from '../errors.js'

/** Multiplies row-major matrices. */
export interface Multiplier {
  /** a (m, k) times b (k, n); `transA`, `transB`: that operand is stored transposed. */
  multiply(
    a: Float32Array,
    b: Float32Array,
    shape: readonly [m: number, k: number, n: number],
    options?: { readonly transA?: boolean; readonly transB?: boolean },
  ): Promise<Float32Array>
}

/** The factor of second moments that rounding needs, and the order of columns. */
export interface InputFactor {
  /** `order[i]` is the column at position i. */
  readonly order: Int32Array
  /** U, (n, n), upper triangular, in that order: H^-1 = U' U. */
  readonly inverse: Float32Array
}

const block = 128
/** Rows updated at once. */
const chunk = 1024

/** Added to every diagonal, as a share of its mean, for inputs that are always zero. */
const least = 1e-6

/** Second moments (n, n) with a share of the mean of their diagonal added to it, so that they can be inverted. */
export function damp(moments: Float32Array, share: number): Float32Array {
  const n = Math.sqrt(moments.length)
  const added = share * meanDiagonal(moments) || 1
  const damped = moments.slice()
  for (let i = 0; i < n; i++) damped[i * n + i] += added
  return damped
}

/**
 * Second moments (n, n) with each element of the diagonal increased by a share of itself. That shrinks correlations towards zero, as is
 * right for few tokens (a shrinkage estimator, as in Ledoit and Wolf 2004, with the diagonal as its target), and is not distorted by
 * a few inputs that are thousands of times as large as all others.
 */
export function shrink(moments: Float32Array, share: number): Float32Array {
  const n = Math.sqrt(moments.length)
  const added = least * meanDiagonal(moments) || 1
  const shrunk = moments.slice()
  for (let i = 0; i < n; i++) shrunk[i * n + i] += share * moments[i * n + i] + added
  return shrunk
}

function meanDiagonal(moments: Float32Array): number {
  const n = Math.sqrt(moments.length)
  let mean = 0
  for (let i = 0; i < n; i++) mean += moments[i * n + i] / n
  return mean
}

/**
 * Factors damped second moments (n, n). Columns are in order of falling H_ii, so that important ones are rounded while most
 * others can still compensate for them. @throws QuenchError if the moments are not positive definite
 */
export async function factorize(moments: Float32Array, products: Multiplier): Promise<InputFactor> {
  const n = Math.sqrt(moments.length)
  const order = Int32Array.from({ length: n }, (_, i) => i).sort(
    (a, b) => moments[b * n + b] - moments[a * n + a],
  )
  const a = new Float32Array(n * n)
  for (let i = 0; i < n; i++) {
    const row = order[n - 1 - i] * n
    for (let j = 0; j <= i; j++) a[i * n + j] = moments[row + order[n - 1 - j]]
  }
  const diagonals = await cholesky(a, n, products)
  const inverse = await invertLower(a, n, diagonals, products)
  return { order, inverse: inverse.reverse() }
}

/** Replaces the lower triangle of A by L. Returns the inverses of the triangles on the diagonal, f32, (size, size) each. */
async function cholesky(a: Float32Array, n: number, products: Multiplier): Promise<Float32Array[]> {
  const diagonals: Float32Array[] = []
  for (let from = 0; from < n; from += block) {
    const size = Math.min(block, n - from)
    const to = from + size
    diagonals.push(factorTriangle(a, n, from, size))
    const below = n - to
    if (below === 0) break
    const panel = await products.multiply(
      copyPart(a, n, to, below, from, size),
      diagonals.at(-1)!,
      [below, size, size],
      {
        transB: true,
      },
    )
    pastePart(panel, a, n, to, below, from, size)
    for (let row = 0; row < below; row += chunk) {
      const rows = Math.min(chunk, below - row)
      const reach = row + rows
      const own = panel.subarray(row * size, reach * size)
      const change = await products.multiply(own, panel.subarray(0, reach * size), [rows, size, reach], {
        transB: true,
      })
      for (let r = 0; r < rows; r++)
        for (let j = 0, at = (to + row + r) * n + to, c = r * reach; j <= row + r; j++)
          a[at + j] -= change[c + j]
    }
  }
  return diagonals
}

/** Factors the triangle at (from, from) in place and returns its inverse. */
function factorTriangle(a: Float32Array, n: number, from: number, size: number): Float32Array {
  const l = new Float64Array(size * size)
  for (let i = 0; i < size; i++)
    for (let j = 0; j <= i; j++) {
      let value = a[(from + i) * n + from + j]
      for (let k = 0; k < j; k++) value -= l[i * size + k] * l[j * size + k]
      if (i === j && !(value > 0))
        throw new QuenchError(
          'the second moments of its inputs are not positive definite, as those of activations that are infinite or not numbers',
        )
      l[i * size + j] = i === j ? Math.sqrt(value) : value / l[j * size + j]
      a[(from + i) * n + from + j] = l[i * size + j]
    }
  const inverse = new Float64Array(size * size)
  for (let i = 0; i < size; i++) {
    const row = inverse.subarray(i * size, (i + 1) * size)
    row[i] = 1
    for (let k = 0; k < i; k++) {
      const share = l[i * size + k]
      for (let j = 0; j <= k; j++) row[j] -= share * inverse[k * size + j]
    }
    for (let j = 0; j <= i; j++) row[j] /= l[i * size + i]
  }
  return Float32Array.from(inverse)
}

/** L^-1, (n, n), zero above the diagonal. */
async function invertLower(
  l: Float32Array,
  n: number,
  diagonals: readonly Float32Array[],
  products: Multiplier,
): Promise<Float32Array> {
  const inverse = new Float32Array(n * n)
  for (const [b, own] of diagonals.entries()) {
    const from = b * block
    const size = Math.min(block, n - from)
    pastePart(own, inverse, n, from, size, from, size)
    if (b === 0) continue
    // Row block of L^-1 to the left of the diagonal: -L_bb^-1 (L_b,left L^-1_left)
    const left = await products.multiply(copyPart(l, n, from, size, 0, from), inverse.subarray(0, from * n), [
      size,
      from,
      n,
    ])
    const row = await products.multiply(own, left, [size, size, n])
    for (let r = 0; r < size; r++)
      for (let j = 0, at = (from + r) * n; j < from; j++) inverse[at + j] = -row[r * n + j]
  }
  return inverse
}

/** Copies a range of rows and columns of a matrix with n columns. */
export function copyPart(
  a: Float32Array,
  n: number,
  row: number,
  rows: number,
  column: number,
  columns: number,
): Float32Array {
  const part = new Float32Array(rows * columns)
  for (let r = 0; r < rows; r++) {
    const at = (row + r) * n + column
    part.set(a.subarray(at, at + columns), r * columns)
  }
  return part
}

/** Copies such a part back. */
export function pastePart(
  part: Float32Array,
  a: Float32Array,
  n: number,
  row: number,
  rows: number,
  column: number,
  columns: number,
): void {
  for (let r = 0; r < rows; r++) a.set(part.subarray(r * columns, (r + 1) * columns), (row + r) * n + column)
}
