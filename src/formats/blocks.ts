/**
 * Checks that all formats share: the number of blocks, and that lengths agree. They guard against errors of callers within quench (a
 * reader has already bounded all sizes), so they throw RangeError.
 */
import type { Codes, Format } from './format.js'

/** How many blocks `bytes` holds. Throws RangeError unless it is a whole number. */
export function blocksOfBytes(format: Format, bytes: Uint8Array): number {
  const blocks = bytes.length / format.blockBytes
  if (!Number.isInteger(blocks)) {
    throw new RangeError(
      `${format.name}: ${bytes.length} bytes are no whole number of ${format.blockBytes}-byte blocks`,
    )
  }
  return blocks
}

/** How many blocks `codes` holds. Throws RangeError if a field is missing or has another number of blocks. */
export function blocksOfCodes(format: Format, codes: Codes): number {
  let blocks: number | undefined
  for (const [field, perBlock] of Object.entries(format.fields)) {
    const count = codes[field] ? codes[field].length / perBlock : Number.NaN
    blocks ??= count
    if (!Number.isInteger(count) || count !== blocks) {
      throw new RangeError(
        `${format.name}: field ${field} has ${codes[field]?.length ?? 'no'} values, ${perBlock} a block`,
      )
    }
  }
  return blocks ?? 0
}

/** Zeroed fields for `blocks` blocks. */
export function emptyCodes(format: Format, blocks: number): Codes {
  return Object.fromEntries(
    Object.entries(format.fields).map(([field, perBlock]) => [field, new Float32Array(blocks * perBlock)]),
  )
}
