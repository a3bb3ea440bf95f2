/**
 * What a file says of how it was made, in two keys of its metadata besides each other:
 *
 *   quench.provenance    one JSON text per step, from the first to the last: {quench, command, options, sources}
 *   quench.data.sha256   SHA-256 of the bytes of all tensors, as llama-gguf-hash computes it; quench.data.bytes: how many
 *
 * A step names its source files by their names or by their places in repositories, never by paths. No dates: the same command makes the
 * same file. Texts of other people's files are only believed to be a record if they have this form.
 */

import type { GgufValue, Metadata } from '../gguf/index.js'
import type { DataDigest } from '../gguf/writer.js'
import { version } from './version.js'

export type OptionValue = string | number | boolean | readonly string[]

/** A file that another was made from. */
export interface SourceFile {
  readonly role: 'model' | 'imatrix' | 'adapter'
  /** Name of the file; within a repository its path. */
  readonly name: string
  /** `org/name` of the Hub, if it came from there, and the commit. */
  readonly repository?: string
  readonly revision?: string
  readonly sha256: string
}

/** One command that made a file from others. */
export interface ProvenanceStep {
  /** Version. */
  readonly quench: string
  readonly command: string
  /** Options that shape the result. */
  readonly options: Readonly<Record<string, OptionValue>>
  readonly sources: readonly SourceFile[]
}

export const stepsKey = 'quench.provenance'
const hashKey = 'quench.data.sha256'
const bytesKey = 'quench.data.bytes'
export const provenanceKeys: readonly string[] = [stepsKey, hashKey, bytesKey]

const mostSteps = 16
const mostCharacters = 2 ** 20
const mostSources = 8192

/** @param options undefined and false are what was not asked for, as are empty lists */
export function stepOf(
  command: string,
  options: Readonly<Record<string, OptionValue | null | undefined>>,
  sources: readonly SourceFile[],
): ProvenanceStep {
  const asked = Object.entries(options).filter(
    ([, value]) =>
      value !== undefined &&
      value !== null &&
      value !== false &&
      !(Array.isArray(value) && value.length === 0),
  )
  return {
    quench: version,
    command,
    options: Object.fromEntries(asked) as ProvenanceStep['options'],
    sources,
  }
}

/** The metadata of a file that this step made. @param before of the input, which may have steps of its own */
export function provenanceEntries(
  before: readonly string[],
  step: ProvenanceStep,
  { sha256, bytes }: DataDigest,
): Map<string, GgufValue> {
  const steps = [...before.slice(1 - mostSteps), JSON.stringify(step)]
  return new Map<string, GgufValue>([
    [stepsKey, { type: 'array', itemType: 'string', value: steps }],
    [hashKey, { type: 'string', value: sha256 }],
    [bytesKey, { type: 'uint64', value: BigInt(bytes) }],
  ])
}

/** The steps of a file as texts, to be copied into what is made from it. Empty if any of them is not of this form. */
export function stepTexts(metadata: Metadata): string[] {
  const found = metadata.get(stepsKey)
  if (found?.type !== 'array' || found.itemType !== 'string' || found.value.length > mostSteps) return []
  const texts = found.value.map((text) => text.trimEnd())
  return texts.every((text) => parsed(text)) ? texts : []
}

/** The steps that made a file; none if it does not say. */
export const stepsOf = (metadata: Metadata): ProvenanceStep[] =>
  stepTexts(metadata).flatMap((text) => parsed(text) ?? [])

/** What a file says of its tensors' bytes. */
export function recordedData(metadata: Metadata): DataDigest | undefined {
  const [sha256, bytes] = [metadata.get(hashKey), metadata.get(bytesKey)]
  if (sha256?.type !== 'string' || bytes?.type !== 'uint64' || !isHash(sha256.value)) return undefined
  return { sha256: sha256.value, bytes: Number(bytes.value) }
}

function parsed(text: string): ProvenanceStep | undefined {
  if (text.length > mostCharacters) return undefined
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  const { quench, command, options, sources } = record(value)
  const known =
    isShort(quench) &&
    isShort(command) &&
    Object.values(record(options)).every(isOption) &&
    Array.isArray(sources) &&
    sources.length <= mostSources &&
    sources.every(isSource)
  return known ? (value as ProvenanceStep) : undefined
}

function isSource(value: unknown): boolean {
  const { role, name, repository, revision, sha256 } = record(value)
  const optional = [repository, revision].every((each) => each === undefined || isShort(each))
  return isShort(role) && typeof name === 'string' && optional && isHash(sha256)
}

const isOption = (value: unknown): boolean =>
  ['string', 'number', 'boolean'].includes(typeof value) ||
  (Array.isArray(value) && value.every((each) => typeof each === 'string'))
const isShort = (value: unknown): boolean => typeof value === 'string' && value.length <= 500
const isHash = (value: unknown): boolean => typeof value === 'string' && /^[0-9a-f]{64}$/.test(value)

const record = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : {}
