/**
 * The CPU backend: buffers are JavaScript arrays, programs are onnxruntime sessions, rounding and Adam are a kernel. onnxruntime is
 * loaded on demand, since most commands have no programs.
 */

import type { Codes, Grid, Latents } from '../../formats/format.js'
import type { TypedArray } from '../../graph/index.js'
import type { Backend, Buffers, DeviceBuffer, DeviceGrid, DeviceLatents } from '../backend.js'
import { adam, type HostMoments } from './adam.js'
import { latentGrid, roundToGrid, scaleGradients, trainOnGrid, weightsOf } from './grid.js'
import { sumOfSquares } from './kernel.js'

const buffer = (values: TypedArray): DeviceBuffer => values as unknown as DeviceBuffer
/** i32 buffers are only copied, so they are typed as f32 here. */
const array = (held: DeviceBuffer): Float32Array => held as unknown as Float32Array
const grid = (held: DeviceGrid): Grid => held as unknown as Grid
const latentsOf = (held: DeviceLatents): Latents => held as unknown as Latents
const buffers = (values: Codes): Buffers => values as unknown as Buffers
const codes = (held: Buffers): Codes => held as unknown as Codes

export const cpu: Backend = {
  zeros: (length) => buffer(new Float32Array(length)),
  upload: buffer,
  download: async <T extends TypedArray>(held: DeviceBuffer) => held as unknown as T,
  write: (held, values) => array(held).set(values),
  view: (held, start, end) => buffer(array(held).subarray(start, end)),
  copy: (to, from) => array(to).set(array(from)),
  fill: (held, value) => void array(held).fill(value),

  add(total, values) {
    const [sums, terms] = [array(total), array(values)]
    for (let i = 0; i < sums.length; i++) sums[i] += terms[i]
  },

  gatherRows(table, tokens, columns) {
    const from = array(table)
    const rows = new Float32Array(tokens.length * columns)
    for (const [i, token] of tokens.entries()) {
      if (token < 0 || (token + 1) * columns > from.length) throw new RangeError(`no row for token ${token}`)
      rows.set(from.subarray(token * columns, (token + 1) * columns), i * columns)
    }
    return buffer(rows)
  },

  scatterAddRows(table, tokens, rows) {
    const [to, added] = [array(table), array(rows)]
    const columns = added.length / tokens.length
    for (const [i, token] of tokens.entries())
      for (let k = 0, at = token * columns, from = i * columns; k < columns; k++)
        to[at + k] += added[from + k]
  },

  sumOfSquares: async (all) => all.reduce((sum, held) => sum + sumOfSquares(array(held)), 0),
  load: async () => void (await import('../onnxruntime.js')).onnxruntime(),
  compile: async (graph, keepsMemory) =>
    (await import('./program.js')).CpuProgram.compile(graph, keepsMemory),

  latentGrid(layout, latents) {
    const { stored, grid } = latentGrid(layout, latentsOf(latents))
    return { stored: buffers(stored), grid: grid as unknown as DeviceGrid }
  },
  roundToGrid: (values, to, weights, codes) =>
    roundToGrid(array(values), grid(to), array(weights), codes && array(codes)),
  weightsOf: (codes, on, weights) => weightsOf(array(codes), grid(on), array(weights)),
  trainOnGrid: (values, gradient, on, { products, gradients }, step) =>
    trainOnGrid(
      array(values),
      array(gradient),
      grid(on),
      { products: array(products), gradients: array(gradients) },
      step && { ...step, moments: step.moments as unknown as HostMoments, unit: array(step.unit) },
    ),
  scaleGradients: (layout, latents, stored, { products, gradients }) =>
    buffers(
      scaleGradients(layout, latentsOf(latents), codes(stored), {
        products: array(products),
        gradients: array(gradients),
      }),
    ),
  adam: (values, gradient, moments, unit, step) =>
    adam(array(values), array(gradient), moments as unknown as HostMoments, array(unit), step),
}
