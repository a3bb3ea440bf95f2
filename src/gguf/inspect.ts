/** The contents of a GGUF file, read from its header alone: no library is loaded and no weight is read. */
import type { Header } from './header.js'
import type { GgufArray, GgufValue } from './metadata.js'
import { headerProblems } from './problems.js'
import { Gguf, openGguf } from './reader.js'
import { type RangeSource, skimHeader } from './skim.js'
import { type Summary, summarize } from './summary.js'
import { ggmlTypes, type ValueType } from './types.js'

/** A metadata value for JSON: 64-bit integers beyond 2^53 are strings, and arrays are truncated. */
export type ShortValue = number | string | boolean | { itemType: string; length: number; first: ShortValue[] }

/** The result of `inspectFile`. */
export interface Inspection extends Summary {
  readonly path: string
  /** All files of a split model, otherwise only `path`. */
  readonly files: readonly string[]
  readonly name?: string
  readonly architecture?: string
  /** Context length, in tokens, that the model was trained with. */
  readonly context?: number
  /** Size of the vocabulary. */
  readonly vocabulary?: number
  /** Why the file cannot be used, as far as its header shows. */
  readonly problems: readonly string[]
  readonly metadata: Readonly<Record<string, ShortValue>>
  readonly tensors: readonly {
    readonly name: string
    /** Row length first. */
    readonly shape: readonly number[]
    readonly type: string
    readonly bytes: number
  }[]
}

const itemsShown = 5

/** Reads the header of a GGUF file, or of all parts of a split model. @throws FileError if it is invalid */
export async function inspectFile(path: string): Promise<Inspection> {
  const gguf = await openGguf(path)
  try {
    return await inspectGguf(gguf)
  } finally {
    await gguf.close()
  }
}

/** The same of files that lie elsewhere, of which only headers are read. */
export async function inspectRemote(sources: readonly RangeSource[]): Promise<Inspection> {
  return inspectGguf(
    await openRemote(sources),
    sources.map(({ size }) => size),
  )
}

/**
 * Reads the headers of files that lie elsewhere, at most 2 MiB of each. There are no tensors to be read.
 * @param sources of all parts, in order
 * @throws FileError
 */
export async function openRemote(sources: readonly RangeSource[]): Promise<Gguf> {
  const headers: Header[] = []
  for (const [i, source] of sources.entries()) headers.push(await skimHeader(source, i))
  return new Gguf(sources.map(({ name }, i) => ({ path: name, header: headers[i] })))
}

/** @param sizes of the files in bytes, where they are not on this disk */
export async function inspectGguf(gguf: Gguf, sizes?: readonly number[]): Promise<Inspection> {
  const { metadata, files, path } = gguf
  const text = (key: string) => {
    const found = metadata.get(key)
    return found?.type === 'string' ? found.value : undefined
  }
  const name = text('general.name')
  const architecture = text('general.architecture')
  const context = metadata.get(`${architecture}.context_length`)?.value
  const tokens = metadata.get('tokenizer.ggml.tokens')
  return {
    path,
    files,
    ...(name !== undefined && { name }),
    ...(architecture !== undefined && { architecture }),
    ...(await summarize(gguf, sizes)),
    ...(typeof context === 'number' && { context }),
    ...(tokens?.type === 'array' && { vocabulary: tokens.value.length }),
    problems: headerProblems(gguf),
    metadata: Object.fromEntries(Array.from(metadata, ([key, value]) => [key, shortValue(value)])),
    tensors: gguf.tensors.map(({ name, shape, type, bytes }) => ({
      name,
      shape,
      type: ggmlTypes.get(type)!.name,
      bytes,
    })),
  }
}

const shortValue = (found: GgufValue): ShortValue =>
  found.type === 'array' ? shortArray(found) : scalar(found.value, found.type)

function shortArray({ itemType, value }: GgufArray): ShortValue {
  const first: ShortValue[] = []
  for (const item of value.slice(0, itemsShown)) {
    if (typeof item === 'object') first.push(shortArray(item))
    else first.push(itemType === 'bool' ? item === 1 : scalar(item, itemType))
  }
  return { itemType, length: value.length, first }
}

function scalar(value: number | bigint | string | boolean, type: ValueType): number | string | boolean {
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : String(value)
  return typeof value === 'number' && type === 'float32' ? shortFloat(value) : value
}

/** The number with the fewest digits that rounds to this float32: 0.00001, not 0.000009999999747378752. */
function shortFloat(value: number): number {
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits))
    if (Math.fround(short) === value) return short
  }
  return value
}
