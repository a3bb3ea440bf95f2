/** Summary of a GGUF file from its header alone: how its weights are stored and their size. */
import { stat } from 'node:fs/promises'
import { systemError } from '../files.js'
import { fileTypes, suitsTypes } from './file-types.js'
import type { Metadata } from './metadata.js'
import { type Gguf, openGguf } from './reader.js'
import { ggmlTypes } from './types.js'

/** The tensors of one type. */
interface TypeSummary {
  /** ggml's name, e.g. `Q4_K`. */
  readonly type: string
  readonly tensors: number
  readonly weights: number
  readonly bytes: number
}

export interface Summary {
  /**
   * Recipe by `general.file_type`, e.g. `Q4_K_M`; without that key, the type of most weights; if the two contradict each
   * other, both: `F16 (says Q4_K_M)`.
   */
  readonly type: string
  /** Size on disk, over all parts. */
  readonly bytes: number
  /** Weights of all tensors. */
  readonly parameters: number
  /** Bytes of all tensors * 8 / `parameters`. */
  readonly bitsPerWeight: number
  /** Ordered by size in bytes, the largest first. */
  readonly types: readonly TypeSummary[]
  /** Whether a tensor has a type other than floats and integers. */
  readonly quantized: boolean
}

/** @throws FileError for a file that is not GGUF or not complete */
export async function summarizeFile(path: string): Promise<Summary> {
  const gguf = await openGguf(path)
  try {
    return await summarize(gguf)
  } finally {
    await gguf.close()
  }
}

/**
 * @param sizes of the files in bytes, where they are not on this disk
 * @throws FileError if a file no longer exists
 */
export async function summarize(gguf: Gguf, sizes?: readonly number[]): Promise<Summary> {
  const types = new Map<number, { type: string; tensors: number; weights: number; bytes: number }>()
  for (const { type, elements, bytes } of gguf.tensors) {
    const entry = types.get(type) ?? { type: ggmlTypes.get(type)!.name, tensors: 0, weights: 0, bytes: 0 }
    entry.tensors++
    entry.weights += elements
    entry.bytes += bytes
    types.set(type, entry)
  }
  const bySize = [...types.values()].sort((a, b) => b.bytes - a.bytes)
  const parameters = bySize.reduce((sum, { weights }) => sum + weights, 0)
  const weightBytes = bySize.reduce((sum, { bytes }) => sum + bytes, 0)
  const fileSizes = sizes ?? (await Promise.all(gguf.files.map(fileSize)))
  return {
    type: typeOf(gguf.metadata, bySize),
    bytes: fileSizes.reduce((sum, size) => sum + size, 0),
    parameters,
    bitsPerWeight: parameters > 0 ? (weightBytes * 8) / parameters : 0,
    types: bySize,
    quantized: [...types.keys()].some((type) => ggmlTypes.get(type)!.blockSize > 1),
  }
}

function typeOf(metadata: Metadata, summaries: readonly TypeSummary[]): string {
  const found = metadata.get('general.file_type')
  const said = typeof found?.value === 'number' ? fileTypes.get(found.value) : undefined
  const types = [...summaries].sort((a, b) => b.weights - a.weights).map(({ type }) => type)
  if (said === undefined) return types[0] ?? 'none'
  return suitsTypes(said, types) ? said : `${types[0]} (says ${said})`
}

/** For a `type` that names two: a sentence about the contradiction. */
export function contradiction({ path, type }: { path: string; type: string }): string | undefined {
  const [, own, said] = /^(.+) \(says (.+)\)$/.exec(type) ?? []
  return own === undefined ? undefined : `${path}: general.file_type says ${said}, and its tensors are ${own}`
}

async function fileSize(path: string): Promise<number> {
  try {
    return (await stat(path)).size
  } catch (error) {
    throw systemError(path, error)
  }
}
