/** Matrix products in plain loops, for tests that need no native library. */
import type { Multiplier } from '../../src/blockwise/factor.js'

export const products: Multiplier = {
  async multiply(a, b, [m, k, n], { transA = false, transB = false } = {}) {
    const y = new Float32Array(m * n)
    for (let i = 0; i < m; i++)
      for (let j = 0; j < k; j++) {
        const x = transA ? a[j * m + i] : a[i * k + j]
        for (let l = 0; l < n; l++) y[i * n + l] += x * (transB ? b[l * k + j] : b[j * n + l])
      }
    return y
  },
}
