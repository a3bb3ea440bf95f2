/**
 * Hyperparameters of a model file, with range checks. A damaged or hostile file may contain any number; a block count of a
 * billion or a width of NaN would otherwise show late, as exhausted memory or a model that computes nothing.
 */
import { FileError } from '../errors.js'
import { type Metadata, quote } from '../gguf/index.js'

/** Far more than any model has, except for weights: widths, heads, tokens of context. */
const most = 2 ** 24
/** Far more blocks than any model has. */
const mostBlocks = 4096

/** An integer of 1 or more. @throws FileError naming the key */
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

/** A count, or 0 if the key is missing or 0. @throws FileError naming the key */
export const optionalCount = (metadata: Metadata, key: string): number =>
  metadata.number(key, 0) === 0 ? 0 : count(metadata, key)

/** A count per layer: one for all, or an array with one each. @throws FileError naming the key */
export function countPerLayer(metadata: Metadata, key: string, layers: number): readonly number[] {
  if (metadata.get(key)?.type !== 'array') return new Array<number>(layers).fill(count(metadata, key))
  const values = metadata.numbers(key)
  checkLength(metadata, key, values.length, layers)
  for (const value of values) if (!isCount(value, most)) throw wrong(metadata, key, value, wanted(most))
  return values
}

/**
 * Which layers attend within a window: an array of flags, or the length of a period whose last layer is global (0: all are).
 * @throws FileError naming the key
 */
export function slidingLayers(metadata: Metadata, key: string, layers: number, period: number): boolean[] {
  if (metadata.get(key)?.type === 'array') return flagPerLayer(metadata, key, layers)
  const stated = metadata.number(key, period)
  if (stated !== 0 && !isCount(stated, most)) throw wrong(metadata, key, stated, wanted(most))
  return Array.from({ length: layers }, (_, layer) => stated === 0 || layer % stated < stated - 1)
}

/** An array with a flag for each layer. @throws FileError naming the key */
export function flagPerLayer(metadata: Metadata, key: string, layers: number): boolean[] {
  const flags = metadata.booleans(key)
  checkLength(metadata, key, flags.length, layers)
  return flags
}

function checkLength({ path }: Metadata, key: string, length: number, layers: number): void {
  if (length !== layers)
    throw new FileError(
      path,
      `the metadata key ${quote(key)} has ${length} values for ${layers} layers; the file is damaged`,
    )
}

const isCount = (value: number, limit: number): boolean =>
  Number.isInteger(value) && value >= 1 && value <= limit
const wanted = (limit: number): string => `not a whole number from 1 to ${limit}`

function bounded(metadata: Metadata, key: string, limit: number, fallback?: number): number {
  const value = metadata.number(key, fallback)
  if (isCount(value, limit)) return value
  throw wrong(metadata, key, value, wanted(limit))
}

function wrong({ path }: Metadata, key: string, value: number, problem: string): FileError {
  return new FileError(path, `the metadata key ${quote(key)} is ${value}, ${problem}; the file is damaged`)
}
