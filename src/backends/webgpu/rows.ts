/** Programs of the backend's own for sums and for rows of tables. */
import {
  add,
  equal,
  gather,
  input,
  matmul,
  mul,
  type ProgramGraph,
  reshape,
  sum,
  toFloat,
  writeRows,
} from '../../graph/index.js'

export function addGraph(length: number): ProgramGraph {
  const [a, b] = [input([length]), input([length])]
  return { inputs: { a, b }, outputs: { y: add(a, b) } }
}

/** The tokens' rows of a table. */
export function gatherGraph(count: number, columns: number, tokens: number): ProgramGraph {
  const [table, ids] = [input([count, columns]), input([tokens], 'int32')]
  return { inputs: { table, ids }, outputs: { rows: gather(table, ids) } }
}

/**
 * A table with rows added to the tokens' rows. A token that occurs more than once gets the sum of its rows each time, so that no two
 * additions meet in one place and the order of work makes no difference.
 */
export function scatterGraph(count: number, columns: number, tokens: number): ProgramGraph {
  const [table, ids, rows] = [input([count, columns]), input([tokens], 'int32'), input([tokens, columns])]
  const same = toFloat(equal(reshape(ids, [tokens, 1]), reshape(ids, [1, tokens])))
  const sums = add(gather(table, ids), matmul(same, rows))
  return { inputs: { table, ids, rows }, outputs: { sums: writeRows(table, ids, sums) } }
}

/** Most partial sums of squares that are read back; they are added up in f64. */
const mostSums = 1024

/** Partial sums of the squares of an array, and how many they are. */
export function squaresGraph(length: number): { program: () => ProgramGraph; length: number } {
  const parts: number[] = []
  for (let left = length; left > mostSums; ) {
    const part = divisorOf(left)
    if (part === 1) break
    parts.push(part)
    left /= part
  }
  const program = (): ProgramGraph => {
    const x = input([length])
    let y = mul(x, x)
    for (const part of parts) y = reshape(sum(reshape(y, [y.size / part, part]), [1]), [y.size / part])
    return { inputs: { x }, outputs: { y } }
  }
  return { program, length: parts.reduce((left, part) => left / part, length) }
}

/** The largest divisor up to 64. */
function divisorOf(n: number): number {
  let divisor = 64
  while (n % divisor !== 0) divisor--
  return divisor
}
