/**
 * Checkpoints: the whole state of a run, written next to the output as a GGUF file, so that a killed run can be resumed to
 * the same result. Latents and moments are F32 tensors named `<number>/<latent>/<value|unit|first|second>`; the settings
 * that the runs must share are one JSON string, compared key by key on resume.
 */

import { rm, stat } from 'node:fs/promises'
import type { Backend, DeviceBuffer } from '../backends/backend.js'
import type { StageReport } from '../config/options.js'
import { FileError } from '../errors.js'
import { reserveSpace } from '../files.js'
import { unrounded } from '../formats/table.js'
import { createGguf, Metadata, openGguf } from '../gguf/index.js'
import { bytesOf, type MomentStore, type Piece, trainedLatents } from '../optimizer/adam-state.js'
import type { Parameter } from '../optimizer/parameter.js'
import { besidePath } from '../paths.js'
import { discardReserved } from '../reserve.js'
import type { Validated } from '../validation/opponent.js'
import type { Divergence } from '../validation/validation.js'
import { checkSettings, parseState, type Settings } from './settings.js'

/** The state of a run apart from its parameters. */
export interface Progress {
  /** Steps done. */
  step: number
  /** Total number of steps, once it is set. */
  steps: number | undefined
  /** Seconds of the stages: solving and steps. */
  seconds: number
  /** Seconds since the command began, including those of interrupted processes up to their last checkpoints. */
  elapsed: number
  /** Seconds that a validation takes. */
  validating: number
  /** Validation so far: step, mean KL divergence and standard error. */
  curve: { step: number; mean: number; se: number }[]
  /** Finished stages, the validations before training, and the last one. */
  stages?: StageReport[]
  validated?: Validated
  last?: Divergence
}

export const checkpointPath = (output: string): string => besidePath(output, '.checkpoint')

export async function checkpointExists(output: string): Promise<boolean> {
  return stat(checkpointPath(output)).then(
    () => true,
    () => false,
  )
}

export async function removeCheckpoint(output: string): Promise<void> {
  await discardReserved(checkpointPath(output)) // left by a killed run
  await rm(checkpointPath(output), { force: true })
}

/** Share of the time that saving may take by default. */
const savingShare = 0.05

/**
 * The checkpoints of a training run. Disk space for two of them is reserved from the start, so that a disk that becomes full later
 * cannot lose a step: each overwrites the one before the last.
 */
export class Checkpoints {
  private readonly path: string
  private saved = Number.NEGATIVE_INFINITY
  private cost = 0

  /** @param every seconds between checkpoints; by default, saving takes a twentieth of the time */
  constructor(
    output: string,
    private readonly parameters: readonly Parameter[],
    private readonly settings: Settings,
    private readonly store: MomentStore,
    private readonly every: number | undefined,
  ) {
    this.path = checkpointPath(output)
  }

  /** Whether the run saves checkpoints. */
  get wanted(): boolean {
    return this.every !== Number.POSITIVE_INFINITY
  }

  /** Saves the initial state unless the run resumed from a checkpoint, and reserves disk space for the next checkpoint. */
  async begin(progress: Progress, resumed: boolean): Promise<void> {
    if (!resumed) await this.save(progress)
    this.saved = performance.now()
    await reserveSpace(this.path, stateBytes(this.parameters, this.store))
  }

  get due(): boolean {
    const since = (performance.now() - this.saved) / 1000
    return since > (this.every ?? this.cost / savingShare)
  }

  async save(progress: Progress): Promise<void> {
    const began = performance.now()
    await saveCheckpoint(this.path, this.parameters, { ...progress }, this.settings, this.store)
    this.saved = performance.now()
    this.cost = (this.saved - began) / 1000
  }

  /** Frees the reserved space and keeps the checkpoint. */
  async end(): Promise<void> {
    await discardReserved(this.path)
  }
}

/**
 * Writes the state, or only the latents without a store of moments. The previous checkpoint is kept until the new one is completely on
 * disk.
 */
export async function saveCheckpoint(
  path: string,
  parameters: readonly Parameter[],
  progress: Readonly<Record<string, unknown>>,
  settings: Settings,
  store?: MomentStore,
): Promise<void> {
  const arrays = stateArrays(parameters, store)
  const metadata = new Metadata(path, [
    ['general.architecture', { type: 'string', value: 'quench-checkpoint' }],
    ['quench.settings', { type: 'string', value: JSON.stringify(settings) }],
    ['quench.progress', { type: 'string', value: JSON.stringify(progress).padEnd(progressBytes) }],
  ])
  const { type } = unrounded
  const tensors = arrays.map(({ name, length }) => ({ name, shape: [length], type }))
  const writer = await createGguf(path, { metadata, tensors, keepReserved: store !== undefined })
  try {
    for (const { name, pieces, get } of arrays)
      for (const piece of pieces) await writer.write(name, bytesOf(await get(piece)))
    await writer.finish()
  } catch (error) {
    await writer.abort()
    throw error
  }
}

/**
 * Loads the state into the parameters and returns the progress.
 * @throws UsageError if the run was started with other settings, FileError if the file is damaged
 */
export async function loadCheckpoint<P>(
  path: string,
  parameters: readonly Parameter[],
  settings: Settings,
  store?: MomentStore,
): Promise<P> {
  const gguf = await openGguf(path)
  try {
    checkSettings(path, gguf.metadata.string('quench.settings'), settings, 'it')
    for (const { name, length, pieces, set } of stateArrays(parameters, store)) {
      const tensor = gguf.tensor(name)
      if (tensor.type !== unrounded.type || tensor.elements !== length)
        throw new FileError(path, `${name} does not fit the model; delete the checkpoint to start anew`)
      for (const piece of pieces) {
        const [start, end] = piece
        const values = new Float32Array(end - start)
        bytesOf(values).set(await gguf.read(tensor, 4 * start, 4 * (end - start)))
        await set(piece, values)
      }
    }
    return parseState(path, gguf.metadata.string('quench.progress')) as P
  } finally {
    await gguf.close()
  }
}

/** An array of the state, in pieces. Its name is valid in a GGUF file whatever the tensors are called. */
interface StateArray {
  readonly name: string
  readonly length: number
  readonly pieces: readonly Piece[]
  get(piece: Piece): Promise<Float32Array>
  set(piece: Piece, values: Float32Array): Promise<void>
}

/** Every array of the state; without a store, only the latents. */
function stateArrays(parameters: readonly Parameter[], store: MomentStore | undefined): StateArray[] {
  return parameters.flatMap((p, i) => {
    const trained = store ? trainedLatents(p).map(({ key }) => key) : []
    return Object.entries(p.latents).flatMap(([key, { values, unit }]) => {
      const arrays = [held(`${i}/${key}/value`, p.backend, values), held(`${i}/${key}/unit`, p.backend, unit)]
      if (!store || !trained.includes(key)) return arrays
      const of = { p, key }
      const pieces = store.pieces(of)
      const moments = (['first', 'second'] as const).map((which) => ({
        name: `${i}/${key}/${which}`,
        length: values.length,
        pieces,
        get: (piece: Piece) => store.get(of, which, piece),
        set: (piece: Piece, from: Float32Array) => store.set(of, which, piece, from),
      }))
      return [...arrays, ...moments]
    })
  })
}

/** An array in a backend's buffer. */
const held = (name: string, backend: Backend, values: DeviceBuffer): StateArray => ({
  name,
  length: values.length,
  pieces: [[0, values.length]],
  get: () => backend.download(values),
  set: async (_, from) => backend.write(values, from),
})

/** Upper bound of the bytes of a file of the state; without a store, of the latents alone. */
export function stateBytes(parameters: readonly Parameter[], store?: MomentStore): number {
  return stateArrays(parameters, store).reduce(
    (bytes, { length }) => bytes + 4 * length + tensorHeaderBytes,
    headerBytes,
  )
}

/** Progress is padded to this size, so that a checkpoint fits into the space of an earlier one. */
const progressBytes = 32 << 10
/** Bounds of the bytes of the metadata, with progress, and of a tensor's entry in the directory. */
export const headerBytes = 64 << 10
export const tensorHeaderBytes = 192
