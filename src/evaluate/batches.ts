/**
 * Cuts a group of windows, run as parallel sequences of one context, into batches that fit the context and produce no more
 * rows of logits than memory allows. The tokens of a window are adjacent within a batch.
 */
import type { Window } from './windows.js'

/** One decode, and the targets of its rows of logits. */
export interface Batch {
  readonly tokens: Int32Array
  readonly positions: Int32Array
  readonly sequenceIds: Int32Array
  /** 1 for tokens that produce a row. */
  readonly logits: Int32Array
  /** For each row: index of the window within the group, the target token, and its document. */
  readonly rowWindows: Int32Array
  readonly targets: Int32Array
  readonly documents: Int32Array
}

/** @param tokens limit per batch; @param rows limit per batch */
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

/** The batch of positions `start` to `end`; advances `scoredBefore`. */
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
  const [rowWindows, targets, documents] = arrays(3, count) // trimmed to the number of rows at the end
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
