/** Matrix products in plain loops, for tests that need no native library. */
import type { ErrorSums } from '../../src/backends/products.js'
import type { Multiplier } from '../../src/backends/triangular.js'

const multiply: Multiplier['multiply'] = async (a, b, [m, k, n], { transA = false, transB = false } = {}) => {
  const y = new Float32Array(m * n)
  for (let i = 0; i < m; i++)
    for (let j = 0; j < k; j++) {
      const x = transA ? a[j * m + i] : a[i * k + j]
      for (let l = 0; l < n; l++) y[i * n + l] += x * (transB ? b[l * k + j] : b[j * n + l])
    }
  return y
}

/** a M b' of each row. */
async function times(
  a: Float32Array,
  b: Float32Array,
  rows: number,
  metric: Float32Array | undefined,
): Promise<Float32Array> {
  const n = a.length / rows
  const weighed = metric ? await multiply(b, metric, [rows, n, n]) : b
  return Float32Array.from({ length: rows }, (_, r) => {
    let sum = 0
    for (let i = r * n; i < (r + 1) * n; i++) sum += a[i] * weighed[i]
    return sum
  })
}

async function errorsOf(
  x: Float32Array,
  w: Float32Array,
  shape: readonly [number, number, number],
  target?: Float32Array,
): Promise<Float32Array> {
  const product = await multiply(x, w, shape, { transB: true })
  return target ? product.map((y, i) => target[i] - y) : product
}

export const products: Multiplier & ErrorSums = {
  multiply,
  async errors(x, w, shape, { target, metric } = {}) {
    const error = await errorsOf(x, w, shape, target)
    return times(error, error, shape[0], metric)
  },
  async stepErrors(x, w, step, shape, { target, metric }) {
    const [error, gained] = [await errorsOf(x, w, shape, target), await errorsOf(x, step, shape)]
    return {
      before: await times(error, error, shape[0], metric),
      both: await times(error, gained, shape[0], metric),
      own: await times(gained, gained, shape[0], metric),
    }
  },
}
