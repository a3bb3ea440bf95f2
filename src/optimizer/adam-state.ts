/** Stores of Adam's moments: in the parameters themselves, or in a file (adam-state-file.ts). They are used piece by piece. */
import { setImmediate } from 'node:timers/promises'
import type { Backend, DeviceBuffer, DeviceLatents, Moments } from '../backends/backend.js'

/** A parameter as far as Adam's moments are concerned. */
export interface Trainable {
  readonly name: string
  readonly backend: Backend
  readonly latents: DeviceLatents
  /** The codes are frozen, and only scales train. */
  readonly codesStay: boolean
  /** The moments in memory, by latent. */
  readonly moments: Record<string, Moments>
}

/** A trained latent of a parameter. */
export interface Trained {
  readonly p: Trainable
  /** Its name among the latents. */
  readonly key: string
}

/** Values start to end (exclusive) of a latent. */
export type Piece = readonly [start: number, end: number]

export interface MomentStore {
  /** The pieces in which a latent's moments are used, in order. Each is whole runs of one unit or lies within one. */
  pieces(of: Trained): readonly Piece[]
  /** One of the moments of a piece, valid until the next call. */
  get(of: Trained, which: keyof Moments, piece: Piece): Promise<Float32Array>
  set(of: Trained, which: keyof Moments, piece: Piece, values: Float32Array): Promise<void>
  /** Calls `work` with the moments of each piece, and stores its changes. */
  update(of: Trained, work: (moments: Moments, piece: Piece) => void): Promise<void>
  /** Frees resources outside the parameters. */
  close?(): Promise<void>
}

/** The trained latents of a parameter. */
export const trainedLatents = (p: Trainable): Trained[] =>
  Object.entries(p.latents)
    .filter(([, { kind }]) => kind === 'scale' || !p.codesStay)
    .map(([key]) => ({ p, key }))

/** Splits a latent with one unit per run of values into pieces of at most `most` values: whole runs, or parts of a longer run. */
export function piecesOf(length: number, run: number, most: number): Piece[] {
  const runs = run > most ? run : Math.floor(most / run) * run
  const pieces: Piece[] = []
  for (let first = 0; first < length; first += runs)
    for (let start = first; start < Math.min(first + runs, length); start += most)
      pieces.push([start, Math.min(start + most, first + runs, length)])
  return pieces
}

/** Values updated before yielding to the event loop. */
const turn = 1 << 20

export const momentsInMemory: MomentStore = {
  pieces: ({ p, key }) => [[0, p.latents[key].values.length]],
  get: ({ p, key }, which) => p.backend.download(p.moments[key][which]),
  set: async ({ p, key }, which, _, values) => p.backend.write(p.moments[key][which], values),
  async update({ p, key }, work) {
    const { values, unit } = p.latents[key]
    const { first, second } = p.moments[key]
    const most = p.backend.queues ? values.length : turn
    for (const [start, end] of piecesOf(values.length, values.length / unit.length, most)) {
      if (start > 0) await setImmediate()
      const part = (moments: DeviceBuffer): DeviceBuffer => p.backend.view(moments, start, end)
      work({ first: part(first), second: part(second) }, [start, end])
    }
  },
}

/** The bytes of an array, as written to files. */
export const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength)
