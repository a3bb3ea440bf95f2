/** Buffers of the processor beside the arrays that they are: what is written to one is in the other. */
import type { Buffers, DeviceBuffer } from '../../src/backends/backend.js'
import { cpu } from '../../src/backends/cpu/cpu.js'
import type { TypedArray } from '../../src/graph/index.js'

export const device = (values: TypedArray): DeviceBuffer => cpu.upload(values)

/** The array that a buffer of `cpu` is: what `cpu.download` gives, without waiting. Not for buffers of another backend. */
export const host = (buffer: DeviceBuffer): Float32Array => buffer as unknown as Float32Array

/** What a program takes and gives, by name. */
export const devices = (values: Readonly<Record<string, TypedArray>>): Buffers =>
  Object.fromEntries(Object.entries(values).map(([name, each]) => [name, device(each)]))
export const hosts = (buffers: Buffers): Record<string, Float32Array> =>
  Object.fromEntries(Object.entries(buffers).map(([name, each]) => [name, host(each)]))

/** The weights of a model. */
export const deviceWeights = (weights: ReadonlyMap<string, Float32Array>): Map<string, DeviceBuffer> =>
  new Map(Array.from(weights, ([name, values]) => [name, device(values)]))
