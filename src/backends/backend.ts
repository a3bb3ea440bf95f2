/**
 * The operations that training needs on a device. A backend owns its buffers: other code passes them around and calls the backend's
 * operations, and never looks inside. On the CPU a buffer is a JavaScript array (cpu/), at no cost.
 *
 * A new device takes a folder here with an object of type `Backend`.
 */
import type { GridLayout } from '../formats/format.js'
import type { Levels } from '../formats/levels.js'
import type { ProgramGraph, TypedArray } from '../graph/index.js'

declare const owned: unique symbol

/** An array on a backend: f32, or i32 for token ids. */
export interface DeviceBuffer {
  readonly length: number
  readonly [owned]: true
}

export type Buffers = Record<string, DeviceBuffer>

/** A compiled graph. */
export interface Program {
  /**
   * Writes the outputs named in `into` to those buffers, and the others to new ones.
   * @throws QuenchError if an input is missing or a buffer has the wrong length
   */
  run(values: Buffers, into?: Buffers): Promise<Buffers>
  dispose(): Promise<void>
}

/** Weights by GGUF name, row-major. */
export interface DeviceWeights {
  get(name: string): DeviceBuffer | undefined
  /** The tokens' rows of a table, (tokens, columns), for tables that are not held whole. */
  rows?(name: string, tokens: Int32Array, columns: number): DeviceBuffer | undefined
}

/** Like `Latent` in formats/format.ts. */
export interface DeviceLatent {
  readonly kind: 'weight' | 'scale'
  readonly values: DeviceBuffer
  readonly unit: DeviceBuffer
}
export type DeviceLatents = Record<string, DeviceLatent>

/** Like `Grid` in formats/format.ts. */
export interface DeviceGrid {
  readonly scales: DeviceBuffer
  readonly mins?: DeviceBuffer
  readonly levels: Levels
}

/** Adam's first and second moments. */
export interface Moments {
  readonly first: DeviceBuffer
  readonly second: DeviceBuffer
}

export interface AdamStep {
  readonly rate: number
  /** Factor of the gradient, for averaging and clipping. */
  readonly gradientScale: number
  /** Number of the step, from 1. */
  readonly number: number
}

/** Sums over the weights of each group: of gradient * code, and of the gradients. */
interface GroupSums {
  readonly products: DeviceBuffer
  readonly gradients: DeviceBuffer
}

export interface Backend {
  /** Calls return before the work is done, so work need not be cut into pieces for the event loop's sake. */
  readonly queues?: true
  /** A new buffer of zeros. */
  zeros(length: number): DeviceBuffer
  /** A buffer with these values. The array may become the buffer, so it must not be changed while the buffer is in use. */
  upload(values: TypedArray): DeviceBuffer
  /** The values of a buffer. The array may be the buffer itself, so it must not be changed. */
  download<T extends TypedArray = Float32Array>(buffer: DeviceBuffer): Promise<T>
  /** Overwrites a whole buffer. */
  write(buffer: DeviceBuffer, values: TypedArray): void
  /** The values from `start` to `end`, exclusive, as a buffer that shares memory with the original. */
  view(buffer: DeviceBuffer, start: number, end: number): DeviceBuffer
  /** Copies a buffer to another of the same length. */
  copy(to: DeviceBuffer, from: DeviceBuffer): void
  fill(buffer: DeviceBuffer, value: number): void
  /** Adds `values` to `total`, element by element. */
  add(total: DeviceBuffer, values: DeviceBuffer): void
  /** The tokens' rows of a table (rows, columns): (tokens, columns). @throws RangeError for a token without a row */
  gatherRows(table: DeviceBuffer, tokens: Int32Array, columns: number): DeviceBuffer
  /** Adds rows, (tokens, columns), to the tokens' rows of a table. */
  scatterAddRows(table: DeviceBuffer, tokens: Int32Array, rows: DeviceBuffer): void
  /** The sum of the squares of all values, in f64 as far as the device supports it. */
  sumOfSquares(buffers: readonly DeviceBuffer[]): Promise<number>
  /** Loads the libraries that programs need, so that a missing one is reported before any work. @throws QuenchError */
  load?(): Promise<void>
  /** Waits until everything that was asked for is done. */
  finish?(): Promise<void>
  /** The backend on which small products of arrays in the machine's memory are faster. */
  readonly host?: Backend
  /** Frees what the backend itself holds. */
  dispose?(): Promise<void>
  /**
   * Compiles a graph. Inputs that no output depends on need not be fed.
   * @param keepsMemory whether the program keeps the memory of its intermediate values between runs, which is faster, or frees it
   */
  compile(graph: ProgramGraph, keepsMemory: boolean): Promise<Program>

  /** The grids of all groups, and the scales of the latents as a file stores them, by field. */
  latentGrid(layout: GridLayout, latents: DeviceLatents): { stored: Buffers; grid: DeviceGrid }
  /** Rounds values to their grid: writes the weights, and their codes to `codes` if it is given. */
  roundToGrid(values: DeviceBuffer, grid: DeviceGrid, weights: DeviceBuffer, codes?: DeviceBuffer): void
  /** Dequantizes codes on a grid into `weights`. */
  weightsOf(codes: DeviceBuffer, grid: DeviceGrid, weights: DeviceBuffer): void
  /**
   * Backpropagates the gradient of rounded weights through the rounding. Writes the sums of the groups, and updates the values by a
   * step of Adam if `step` is given.
   */
  trainOnGrid(
    values: DeviceBuffer,
    gradient: DeviceBuffer,
    grid: DeviceGrid,
    sums: GroupSums,
    step?: AdamStep & { readonly moments: Moments; readonly unit: DeviceBuffer },
  ): void
  /** Gradients of the latent scales and minimums, by field, from the sums over their groups. */
  scaleGradients(layout: GridLayout, latents: DeviceLatents, stored: Buffers, sums: GroupSums): Buffers
  /** One step of Adam: updates values and moments. `unit` holds one value for each run of values.length / unit.length. */
  adam(
    values: DeviceBuffer,
    gradient: DeviceBuffer,
    moments: Moments,
    unit: DeviceBuffer,
    step: AdamStep,
  ): void
}

/** The part of a grid for the groups from `start` to `end`, exclusive. */
export const gridPart = (
  backend: Backend,
  { scales, mins, levels }: DeviceGrid,
  start: number,
  end: number,
): DeviceGrid => ({
  scales: backend.view(scales, start, end),
  levels,
  ...(mins ? { mins: backend.view(mins, start, end) } : {}),
})

/** A copy of a buffer. */
export function copyOf(backend: Backend, buffer: DeviceBuffer): DeviceBuffer {
  const copy = backend.zeros(buffer.length)
  backend.copy(copy, buffer)
  return copy
}

/** Concatenates buffers; a single one is returned as it is. */
export function joined(backend: Backend, parts: readonly DeviceBuffer[]): DeviceBuffer {
  if (parts.length === 1) return parts[0]
  const all = backend.zeros(parts.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const part of parts) {
    backend.copy(backend.view(all, at, at + part.length), part)
    at += part.length
  }
  return all
}
