/**
 * Factors of the squared error of each weight: the importance of its column, increased for large weights as in ggml's quantizers with an
 * importance matrix (`qw * sqrt(sigma2 + x * x)` in ggml-quants.c). Without the second factor a search with a matrix favours the many
 * small weights of a row over the few large ones, and files of Q2_K get worse than ggml's. Without a matrix all errors count alike.
 */

/** Added to every importance, as a share of their mean, so that weights that nothing reads keep sensible codes. */
const leastImportance = 1e-6

/**
 * @param weights (rows, columns)
 * @param importance of each column; missing: all factors are 1
 * @returns factors above 0, one for each weight; those of a row do not depend on the other rows
 */
export function weighErrors(weights: Float32Array, columns: number, importance?: Float32Array): Float32Array {
  const factors = new Float32Array(weights.length).fill(1)
  if (!importance) return factors
  const ofColumn = floored(importance)
  for (let from = 0; from < weights.length; from += columns) {
    let squares = 0
    for (let i = from; i < from + columns; i++) squares += weights[i] ** 2
    const mean = squares / columns || 1
    for (let i = 0; i < columns; i++)
      factors[from + i] = ofColumn[i] * Math.sqrt(1 + weights[from + i] ** 2 / mean)
  }
  return factors
}

function floored(importance: Float32Array): Float32Array {
  const mean = importance.reduce((a, b) => a + b, 0) / importance.length
  if (!(mean > 0)) return new Float32Array(importance.length).fill(1)
  return importance.map((value) => value + leastImportance * mean)
}
