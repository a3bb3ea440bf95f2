/**
 * Cuts a group of windows, run side by side as sequences of one context, into batches that fit the context and give no
 * more rows of logits than there is memory for. Within a batch the tokens of a window are neighbours.
 */
import type { Window } from './windows.js'

/** One decode, and what its rows of logits predict. */
export interface Batch {
  readonly tokens: Int32Array
  readonly positions: Int32Array
  readonly sequenceIds: Int32Array
  /** 1 for tokens that give a row. */
  readonly logits: Int32Array
  /** Of each row: index of the window within the group, the token that came, and its document. */
  readonly rowWindows: Int32Array
  readonly targets: Int32Array
  readonly documents: Int32Array
}

/** @param tokens most of a batch; @param rows most rows of a batch */
export function* batches(group: readonly Window[], tokens: number, rows: number): Generator<Batch> {
  const lengths = group.map(({ positions }) => (positions.at(-1) ?? -1) + 1)
  const longest = Math.max(...lengths)
  const scoredBefore = group.map(() => 0)
  for (let start = 0; start < longest; ) {
    const end = endOf(group, lengths, scoredBefore, start, longest, tokens, rows)
    yield makeBatch(group, lengths, scoredBefore, start, end)
    start = end
  }
}

/** The largest end for which positions `start` to `end` of all windows fit; at least one position. */
function endOf(
  group: readonly Window[],
  lengths: readonly number[],
  scoredBefore: readonly number[],
  start: number,
  longest: number,
  tokens: number,
  rows: number,
): number {
  const next = [...scoredBefore]
  let [usedTokens, usedRows] = [0, 0]
  for (let position = start; position < longest; position++) {
    for (const [g, { positions }] of group.entries()) {
      if (position >= lengths[g]) continue
      usedTokens++
      if (positions[next[g]] === position) {
        usedRows++
        next[g]++
      }
    }
    if (position > start && (usedTokens > tokens || usedRows > rows)) return position
  }
  return longest
}

/** Positions `start` to `end`; moves `scoredBefore` on. */
function makeBatch(
  group: readonly Window[],
  lengths: readonly number[],
  scoredBefore: number[],
  start: number,
  end: number,
): Batch {
  const ends = lengths.map((length) => Math.max(start, Math.min(end, length)))
  const count = ends.reduce((sum, last) => sum + last - start, 0)
  const [tokens, positions, sequenceIds, logits] = arrays(4, count)
  const [rowWindows, targets, documents] = arrays(3, count) // as long as the rows in the end
  let i = 0
  let row = 0
  for (const [g, window] of group.entries()) {
    for (let position = start; position < ends[g]; position++) {
      const scored = window.positions[scoredBefore[g]] === position
      tokens[i] = window.tokens[position]
      positions[i] = position
      sequenceIds[i] = g
      logits[i++] = scored ? 1 : 0
      if (!scored) continue
      rowWindows[row] = g
      targets[row] = window.tokens[position + 1]
      documents[row++] = window.documents[scoredBefore[g]++]
    }
  }
  const rows = (array: Int32Array): Int32Array => array.slice(0, row)
  return {
    tokens,
    positions,
    sequenceIds,
    logits,
    rowWindows: rows(rowWindows),
    targets: rows(targets),
    documents: rows(documents),
  }
}

const arrays = (count: number, length: number): Int32Array[] =>
  Array.from({ length: count }, () => new Int32Array(length))
