/**
 * Rows of embedding tables, chosen by tokens. Tables are too large to go through a program (Gemma 4 has 2.3 billion weights
 * in one), so their rows are picked before and added to after it.
 */

/** The rows of a table that the tokens choose, (tokens, columns). @throws RangeError for a token without a row */
export function rowsOf(table: Float32Array, tokens: Int32Array, columns: number): Float32Array {
  const rows = new Float32Array(tokens.length * columns)
  for (const [i, token] of tokens.entries()) {
    if (token < 0 || (token + 1) * columns > table.length) throw new RangeError(`no row for token ${token}`)
    rows.set(table.subarray(token * columns, (token + 1) * columns), i * columns)
  }
  return rows
}

/** Adds rows, (tokens, columns), to those that the tokens choose. */
export function addRows(table: Float32Array, tokens: Int32Array, rows: Float32Array): void {
  const columns = rows.length / tokens.length
  for (const [i, token] of tokens.entries()) {
    const [to, from] = [token * columns, i * columns]
    for (let k = 0; k < columns; k++) table[to + k] += rows[from + k]
  }
}
