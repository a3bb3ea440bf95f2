/**
 * Hyperparameters of a model file, within bounds. A damaged or hostile file may hold any number, and a block count of
 * a billion or a width of NaN would otherwise be found out late, as a full memory or as a model that computes nothing.
 */
import { FileError } from '../errors.js'
import { type Metadata, quote } from '../gguf/index.js'

/** Far more than any model has of anything but weights: widths, heads, tokens of context. */
const most = 2 ** 24
/** Far more blocks than any model has. */
const mostBlocks = 4096

/** A whole number from 1 on. @throws FileError naming the key */
export function count(metadata: Metadata, key: string, fallback?: number): number {
  return bounded(metadata, key, most, fallback)
}

/** The number of blocks. @throws FileError naming the key */
export function blockCount(metadata: Metadata, architecture: string): number {
  return bounded(metadata, `${architecture}.block_count`, mostBlocks)
}

/** A number above zero. @throws FileError naming the key */
export function positive(metadata: Metadata, key: string, fallback?: number): number {
  const value = metadata.number(key, fallback)
  if (value > 0 && Number.isFinite(value)) return value
  throw wrong(metadata, key, value, 'not a number above 0')
}

function bounded(metadata: Metadata, key: string, limit: number, fallback?: number): number {
  const value = metadata.number(key, fallback)
  if (Number.isInteger(value) && value >= 1 && value <= limit) return value
  throw wrong(metadata, key, value, `not a whole number from 1 to ${limit}`)
}

function wrong({ path }: Metadata, key: string, value: number, problem: string): FileError {
  return new FileError(path, `the metadata key ${quote(key)} is ${value}, ${problem}; the file is damaged`)
}
