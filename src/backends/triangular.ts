/**
 * Products with triangular matrices, of which the half that is zero is left out: in panels, so that a product of n columns takes little
 * more than half of the multiplications. And copies of parts of matrices.
 */

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

/** A triangular matrix, (size, size), within a square matrix with n columns, from row and column `from` on. */
export interface Triangle {
  readonly values: Float32Array
  readonly n: number
  readonly from: number
  readonly size: number
  readonly side: 'lower' | 'upper'
}

/** Columns of a panel: fewer leave out more, and are slower per multiplication. */
const panel = 1024

/** X T or, with `transposed`, X T', for X (rows, size): a new array. */
export async function timesTriangle(
  x: Float32Array,
  { values, n, from, size, side }: Triangle,
  products: Multiplier,
  transposed = false,
): Promise<Float32Array> {
  const rows = x.length / size
  const result = new Float32Array(x.length)
  // Column j of an upper triangle is zero below row j, and that of a lower one above it.
  const upper = (side === 'upper') !== transposed
  for (let column = 0; column < size; column += panel) {
    const width = Math.min(panel, size - column)
    const [first, last] = upper ? [0, column + width] : [column, size]
    const k = last - first
    const own = k === size ? x : copyPart(x, size, 0, rows, first, k)
    const part = transposed
      ? copyPart(values, n, from + column, width, from + first, k)
      : copyPart(values, n, from + first, k, from + column, width)
    const product = await products.multiply(own, part, [rows, k, width], { transB: transposed })
    pastePart(product, result, size, 0, rows, column, width)
  }
  return result
}

/** T X for a lower triangle T and X (size, columns): a new array. */
export async function lowerTimes(
  { values, n, from, size }: Triangle,
  x: Float32Array,
  products: Multiplier,
): Promise<Float32Array> {
  const columns = x.length / size
  const result = new Float32Array(x.length)
  for (let row = 0; row < size; row += panel) {
    const rows = Math.min(panel, size - row)
    const k = row + rows
    const part = copyPart(values, n, from + row, rows, from, k)
    result.set(await products.multiply(part, x.subarray(0, k * columns), [rows, k, columns]), row * columns)
  }
  return result
}

/** Subtracts X X', for X (size, k), from the lower triangle that begins at row and column `from` of a matrix with n columns. */
export async function subtractGram(
  x: Float32Array,
  k: number,
  a: Float32Array,
  n: number,
  from: number,
  products: Multiplier,
): Promise<void> {
  const size = x.length / k
  for (let row = 0; row < size; row += panel) {
    const rows = Math.min(panel, size - row)
    const reach = row + rows
    const own = x.subarray(row * k, reach * k)
    const change = await products.multiply(own, x.subarray(0, reach * k), [rows, k, reach], { transB: true })
    for (let r = 0; r < rows; r++)
      for (let j = 0, at = (from + row + r) * n + from, c = r * reach; j <= row + r; j++)
        a[at + j] -= change[c + j]
  }
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
