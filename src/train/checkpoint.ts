/**
 * Checkpoints: the whole state of a run, written beside the output as a GGUF file, so that a run that was killed goes
 * on to the same result. Latents and moments are F32 tensors named `<number>/<latent>/<value|unit|first|second>`; the
 * settings that must not change between the runs are one JSON string, compared key by key on resuming.
 */
import { rm, stat } from 'node:fs/promises'
import { FileError, UsageError } from '../errors.js'
import { reserveRoom } from '../files.js'
import { createGguf, Metadata, openGguf } from '../gguf/index.js'
import { discardRoom } from '../room.js'
import type { StageReport } from './options.js'
import type { Parameter } from './parameter.js'

/** What, besides the parameters, a run must know to go on. */
export interface Progress {
  /** Steps done. */
  step: number
  /** Steps in all, once that is known. */
  steps: number | undefined
  /** Seconds spent in training. */
  seconds: number
  /** Validation so far: step, mean KL divergence and standard error. */
  curve: { step: number; mean: number; se: number }[]
  /** Stages that are done. */
  stages?: StageReport[]
}

export type Settings = Readonly<Record<string, string | number | boolean | null>>

export const checkpointPath = (output: string): string => `${output}.checkpoint`

export async function checkpointExists(output: string): Promise<boolean> {
  return stat(checkpointPath(output)).then(
    () => true,
    () => false,
  )
}

export async function removeCheckpoint(output: string): Promise<void> {
  await rm(checkpointPath(output), { force: true })
}

/** Saving may take this share of the time where nothing else is asked for. */
const savingShare = 0.05

/**
 * The checkpoint of a run while it trains. There is room for two of them from the start, so that a disk that becomes full meanwhile
 * cannot lose a step: each is written over the one before the last.
 */
export class Checkpoints {
  private readonly path: string
  private saved = Number.NEGATIVE_INFINITY
  private cost = 0

  /** @param every seconds between checkpoints; by default as often as it takes a twentieth of the time */
  constructor(
    output: string,
    private readonly parameters: readonly Parameter[],
    private readonly settings: Settings,
    private readonly every: number | undefined,
  ) {
    this.path = checkpointPath(output)
  }

  /** Whether the run saves anything by itself. */
  get wanted(): boolean {
    return this.every !== Number.POSITIVE_INFINITY
  }

  /** Saves where a run starts, unless a checkpoint says that already, and takes room for the next. */
  async begin(progress: Progress, resumed: boolean): Promise<void> {
    if (!resumed) await this.save(progress)
    this.saved = performance.now()
    await reserveRoom(this.path, stateBytes(this.parameters, 'all'))
  }

  get due(): boolean {
    const since = (performance.now() - this.saved) / 1000
    return since > (this.every ?? this.cost / savingShare)
  }

  async save(progress: Progress): Promise<void> {
    const began = performance.now()
    await saveCheckpoint(this.path, this.parameters, { ...progress }, this.settings)
    this.saved = performance.now()
    this.cost = (this.saved - began) / 1000
  }

  /** Gives the room back. The checkpoint stays. */
  async end(): Promise<void> {
    await discardRoom(this.path)
  }
}

/** Writes the state; the checkpoint before it stays until the new one is whole and on disk. */
export async function saveCheckpoint(
  path: string,
  parameters: readonly Parameter[],
  progress: Readonly<Record<string, unknown>>,
  settings: Settings,
  what: 'all' | 'latents' = 'all',
): Promise<void> {
  const arrays = stateArrays(parameters, what)
  const metadata = new Metadata(path, [
    ['general.architecture', { type: 'string', value: 'quench-checkpoint' }],
    ['quench.settings', { type: 'string', value: JSON.stringify(settings) }],
    ['quench.progress', { type: 'string', value: JSON.stringify(progress).padEnd(progressBytes) }],
  ])
  const tensors = [...arrays].map(([name, values]) => ({ name, shape: [values.length], type: 0 }))
  const writer = await createGguf(path, { metadata, tensors, keepRoom: what === 'all' })
  for (const [name, values] of arrays)
    await writer.write(name, new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
  await writer.finish()
}

/**
 * Reads the state into the parameters and returns the progress.
 * @throws UsageError if the run was started with other settings, FileError if the file is damaged
 */
export async function loadCheckpoint<P>(
  path: string,
  parameters: readonly Parameter[],
  settings: Settings,
  what: 'all' | 'latents' = 'all',
): Promise<P> {
  const gguf = await openGguf(path)
  try {
    const saved = parse(path, gguf.metadata.string('quench.settings')) as Settings
    for (const key of new Set([...Object.keys(saved), ...Object.keys(settings)]))
      if (saved[key] !== settings[key])
        throw new UsageError(
          `${path} is of a run with another ${key} (${saved[key]}, now ${settings[key]}); resume with the same, or delete it to start anew`,
        )
    for (const [name, values] of stateArrays(parameters, what)) {
      const tensor = gguf.tensor(name)
      if (tensor.type !== 0 || tensor.elements !== values.length)
        throw new FileError(path, `${name} does not fit the model; delete the checkpoint to start anew`)
      const bytes = await gguf.read(tensor)
      new Uint8Array(values.buffer, values.byteOffset, values.byteLength).set(bytes)
    }
    return parse(path, gguf.metadata.string('quench.progress')) as P
  } finally {
    await gguf.close()
  }
}

function parse(path: string, json: string): unknown {
  try {
    return JSON.parse(json)
  } catch (cause) {
    throw new FileError(path, 'is damaged; delete it to start anew', { cause })
  }
}

/** Every array of the state by a name that fits in a GGUF file whatever the tensors are called. */
function stateArrays(parameters: readonly Parameter[], what: 'all' | 'latents'): Map<string, Float32Array> {
  const arrays = new Map<string, Float32Array>()
  for (const [i, p] of parameters.entries())
    for (const [key, { values, unit }] of Object.entries(p.latents)) {
      arrays.set(`${i}/${key}/value`, values)
      arrays.set(`${i}/${key}/unit`, unit)
      const moments = what === 'all' ? p.moments[key] : undefined
      if (!moments) continue
      arrays.set(`${i}/${key}/first`, moments.first)
      arrays.set(`${i}/${key}/second`, moments.second)
    }
  return arrays
}

/** At least the bytes of a file of the state. */
export function stateBytes(parameters: readonly Parameter[], what: 'all' | 'latents'): number {
  let bytes = headerBytes
  for (const values of stateArrays(parameters, what).values()) bytes += values.byteLength + tensorHeaderBytes
  return bytes
}

/** Progress takes this much however far it is, so that a checkpoint fits where the one before was. */
const progressBytes = 16 << 10
/** Metadata with the validation so far, and what says of a tensor where it lies. */
export const headerBytes = 64 << 10
export const tensorHeaderBytes = 192
