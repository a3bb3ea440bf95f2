/**
 * An importance matrix beside the model that it is used for. llama-quantize says nothing of entries that are missing, of other
 * models or all zeros, and stops in the middle at one of a wrong size; here each is told in a sentence, before anything is written.
 */
import { FileError, UsageError } from '../../errors.js'
import { type Gguf, quote } from '../../gguf/index.js'
import { decodeText, encodeText } from '../../gguf/text.js'
import type { OverrideValue } from '../../llama/index.js'
import { openImatrix, readEntry } from './file.js'
import type { ImatrixFile } from './imatrix.js'

/** What is used of a file. */
export interface ModelImportance {
  /** By tensor of the model. */
  readonly importance: ReadonlyMap<string, Float32Array>
  /** Where the matrix is from, as llama-quantize writes it into its output. */
  readonly metadata: ReadonlyMap<string, OverrideValue>
  /** Tensors whose entry is all zeros. */
  readonly zeros: ReadonlySet<string>
  readonly warnings: readonly string[]
}

/** Embeddings and the output matrix, of which llama-imatrix collects nothing unless it is asked to. */
export const isOuter = (name: string): boolean =>
  ['output.weight', 'token_embd.weight', 'per_layer_token_embd.weight'].includes(name)

/** Of a list of names so many are told. */
const most = 3

/** `a, b, c and 4 more` */
export function listed(names: readonly string[]): string {
  const shown = names.slice(0, most).map((name) => quote(name))
  if (names.length > most) return `${shown.join(', ')} and ${names.length - most} more`
  return shown.length < 2 ? shown.join() : `${shown.slice(0, -1).join(', ')} and ${shown.at(-1)}`
}

/** Which entries of a file are used: those in whose names one of these texts is found, or all but those. */
export interface EntryChoice {
  readonly includeWeights?: readonly string[]
  readonly excludeWeights?: readonly string[]
}

/** The file with the chosen entries alone. @throws UsageError for texts that are found in no name, and where no entry is left */
function chosenEntries(
  file: ImatrixFile,
  { includeWeights = [], excludeWeights = [] }: EntryChoice,
): ImatrixFile {
  const names = [...file.entries.keys()]
  const option = includeWeights.length > 0 ? '--include-weights' : '--exclude-weights'
  const unused = [...includeWeights, ...excludeWeights].find((text) => !names.some((n) => n.includes(text)))
  if (unused !== undefined)
    throw new UsageError(`${option} ${unused}: no entry of ${file.path} has this in its name`)
  const entries = [...file.entries].filter(
    ([name]) =>
      (includeWeights.length === 0 || includeWeights.some((text) => name.includes(text))) &&
      !excludeWeights.some((text) => name.includes(text)),
  )
  if (entries.length === 0)
    throw new UsageError(`${option} leaves no entry of ${file.path}; leave out --imatrix instead`)
  return { ...file, entries: new Map(entries) }
}

/**
 * Reads the entries that are of the model's tensors.
 * @param called what the output calls the file
 * @throws FileError for entries of a wrong size, and where there are none
 */
export async function importanceOfModel(
  file: ImatrixFile,
  gguf: Gguf,
  called = file.path,
): Promise<ModelImportance> {
  const names = [...file.entries.keys()]
  const foreign = names.filter((name) => !gguf.has(name))
  if (foreign.length === names.length)
    throw new FileError(
      file.path,
      `none of its ${names.length} entries is a tensor of ${gguf.path}, such as ${quote(names[0])}; it is of another model`,
    )
  const wrong = names.filter(
    (name) => gguf.has(name) && inputsOf(gguf, name) !== file.entries.get(name)?.length,
  )
  const unusable = wrong.find((name) => !isOuter(name))
  if (unusable !== undefined)
    throw new FileError(
      file.path,
      `the entry ${quote(unusable)} has ${file.entries.get(unusable)?.length} values and the tensor of ${gguf.path} has ${inputsOf(gguf, unusable)} inputs; it is of another model`,
    )
  const importance = new Map<string, Float32Array>()
  for (const name of names)
    if (gguf.has(name) && !wrong.includes(name)) importance.set(name, await readEntry(file, name))
  const zeros = [...importance].flatMap(([name, values]) => (values.every((v) => v === 0) ? [name] : []))
  return {
    importance,
    metadata: provenance(file, called),
    zeros: new Set(zeros),
    warnings: [
      ...remark(file, foreign, 'not of this model and not used'),
      ...remark(file, wrong, 'not as long as their tensors and not used'),
      ...remark(file, zeros, 'all zeros, so the rounding of their tensors is arbitrary'),
    ],
  }
}

/**
 * Reads what a file has of a model.
 * @param called what the output calls the file
 * @throws FileError for a file that is no importance matrix or another model's, UsageError for a choice that leaves nothing
 */
export async function readImportanceOf(
  gguf: Gguf,
  path: string,
  choice: EntryChoice = {},
  called = path,
): Promise<ModelImportance> {
  const file = await openImatrix(path)
  try {
    return await importanceOfModel(chosenEntries(file, choice), gguf, called)
  } finally {
    await file.close()
  }
}

/** Values that an entry must have: one for each input, and for each expert. */
function inputsOf(gguf: Gguf, name: string): number {
  const { shape } = gguf.tensor(name)
  return shape[0] * (shape[2] ?? 1)
}

/** A warning of tensors that a file has no entries of. */
export const missingEntries = (path: string, names: readonly string[]): string | undefined =>
  names.length === 0
    ? undefined
    : `${path}: it has no importances of ${names.length} tensors, which are rounded without: ${listed(names)}`

function remark(file: ImatrixFile, names: readonly string[], what: string): string[] {
  if (names.length === 0) return []
  return [`${file.path}: ${names.length} of ${file.entries.size} entries are ${what}: ${listed(names)}`]
}

/** llama.cpp keeps so many bytes of a text. */
const mostTextBytes = 127

/** Source: tools/quantize/quantize.cpp of llama.cpp v0.5.0. */
function provenance({ datasets, entries, chunks }: ImatrixFile, name: string): Map<string, OverrideValue> {
  const metadata = new Map<string, OverrideValue>()
  const text = (key: string, value: string) => metadata.set(key, { type: 'string', value: kept(value) })
  const count = (key: string, value: number) => metadata.set(key, { type: 'uint32', value })
  text('quantize.imatrix.file', name)
  if (datasets.length > 0) text('quantize.imatrix.dataset', datasets[0])
  count('quantize.imatrix.entries_count', entries.size)
  if (chunks > 0) count('quantize.imatrix.chunks_count', chunks)
  return metadata
}

/** A text to its first 0, and no more of it than llama.cpp keeps. */
function kept(text: string): string {
  const bytes = encodeText(text) ?? Buffer.from(text)
  const end = bytes.indexOf(0)
  return decodeText(bytes, 0, Math.min(end < 0 ? bytes.length : end, mostTextBytes))
}
