/**
 * What training needs of a device. A backend owns its buffers: all others name them, pass them on and ask for what is to be done with
 * them, and never look inside. On the processor a buffer is an array of JavaScript (cpu/), at no cost.
 *
 * A new device is a folder here with an object of type `Backend`.
 */
import type { GridLayout } from '../formats/format.js'
import type { Levels } from '../formats/levels.js'
import type { ProgramGraph, TypedArray } from '../graph/index.js'

declare const owned: unique symbol

/** Numbers of a backend: f32, or i32 where they are ids of tokens. */
export interface DeviceBuffer {
  readonly length: number
  readonly [owned]: true
}

export type Buffers = Record<string, DeviceBuffer>

/** A compiled graph. */
export interface Program {
  /**
   * Outputs named in `into` are written to those buffers, the others to new ones.
   * @throws QuenchError if an input is missing or a buffer has the wrong length
   */
  run(values: Buffers, into?: Buffers): Promise<Buffers>
  dispose(): Promise<void>
}

/** Weights by GGUF name, rows of the matrix one after another. */
export interface DeviceWeights {
  get(name: string): DeviceBuffer | undefined
  /** The rows of a table that the tokens choose, (tokens, columns), for tables that are not held whole. */
  rows?(name: string, tokens: Int32Array, columns: number): DeviceBuffer | undefined
}

/** As `Latent` in formats/format.ts. */
export interface DeviceLatent {
  readonly kind: 'weight' | 'scale'
  readonly values: DeviceBuffer
  readonly unit: DeviceBuffer
}
export type DeviceLatents = Record<string, DeviceLatent>

/** As `Grid` in formats/format.ts. */
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
  /** What multiplies the gradient, for averaging and clipping. */
  readonly gradientScale: number
  /** 1 for the first step. */
  readonly number: number
}

/** Sums over the weights of each group: of gradient * code, and of the gradients. */
interface GroupSums {
  readonly products: DeviceBuffer
  readonly gradients: DeviceBuffer
}

export interface Backend {
  /** A new buffer of zeros. */
  zeros(length: number): DeviceBuffer
  /** A buffer of these values. The array may become the buffer: it must not be changed while the buffer is in use. */
  upload(values: TypedArray): DeviceBuffer
  /** The values of a buffer, in an array that may be the buffer itself: it must not be changed. */
  download<T extends TypedArray = Float32Array>(buffer: DeviceBuffer): Promise<T>
  /** Writes values over all of a buffer. */
  write(buffer: DeviceBuffer, values: TypedArray): void
  /** The values from `start` to `end`, exclusive, as a buffer that shares them. */
  view(buffer: DeviceBuffer, start: number, end: number): DeviceBuffer
  /** Copies a buffer over another of the same length. */
  copy(to: DeviceBuffer, from: DeviceBuffer): void
  fill(buffer: DeviceBuffer, value: number): void
  /** Adds to `total`, element by element. */
  add(total: DeviceBuffer, values: DeviceBuffer): void
  /** The rows of a table (rows, columns) that the tokens choose, (tokens, columns). @throws RangeError for a token without a row */
  gatherRows(table: DeviceBuffer, tokens: Int32Array, columns: number): DeviceBuffer
  /** Adds rows, (tokens, columns), to those of a table that the tokens choose. */
  scatterAddRows(table: DeviceBuffer, tokens: Int32Array, rows: DeviceBuffer): void
  /** In f64 where the device has it. */
  sumOfSquares(buffer: DeviceBuffer): Promise<number>
  /** Loads what programs need, so that what is missing is told before any work. @throws QuenchError */
  load?(): Promise<void>
  /**
   * Compiles a graph. Inputs that no output depends on need not be fed.
   * @param keepsMemory whether the program keeps the memory of its intermediate values from one run to the next, which is faster, or
   * gives it back
   */
  compile(graph: ProgramGraph, keepsMemory: boolean): Promise<Program>

  /** The grids of all groups, and what a file holds of them besides the codes, by field: the scales of latents as they are stored. */
  latentGrid(layout: GridLayout, latents: DeviceLatents): { stored: Buffers; grid: DeviceGrid }
  /** Rounds values to their grid: writes weights, and their codes where they are wanted. */
  roundToGrid(values: DeviceBuffer, grid: DeviceGrid, weights: DeviceBuffer, codes?: DeviceBuffer): void
  /** Writes the weights of codes on a grid. */
  weightsOf(codes: DeviceBuffer, grid: DeviceGrid, weights: DeviceBuffer): void
  /**
   * Takes the gradient of rounded weights back to the values, which go a step of Adam along it, if there is a `step`, and to the
   * groups, whose sums are written.
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
  /** A step of Adam: updates values and moments. `unit` holds one value for each run of values.length / unit.length. */
  adam(
    values: DeviceBuffer,
    gradient: DeviceBuffer,
    moments: Moments,
    unit: DeviceBuffer,
    step: AdamStep,
  ): void
}

/** The part of a grid for groups from `start` to `end`. */
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

/** Buffers one after another. */
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
