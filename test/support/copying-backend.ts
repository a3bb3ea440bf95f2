/**
 * A second backend, as far from the processor's as one can be on it: every array is copied on its way in and out, a buffer shows
 * nothing but its length, and those of other backends are refused. What trains on it treats buffers as a device's.
 */
import type { Backend, Buffers, DeviceBuffer, DeviceLatents, Moments } from '../../src/backends/backend.js'
import { cpu } from '../../src/backends/cpu/cpu.js'
import type { TypedArray } from '../../src/graph/index.js'

/** The arrays of the processor's backend behind the buffers of this one. */
const inside = new WeakMap<DeviceBuffer, TypedArray>()

function held(values: TypedArray): DeviceBuffer {
  const refuse = (key: string | symbol): never => {
    throw new Error(`${String(key)} of a buffer was asked for, which only its backend may look into`)
  }
  const buffer = new Proxy({} as DeviceBuffer, {
    get: (_, key) => (key === 'length' ? values.length : key === 'then' ? undefined : refuse(key)),
    set: (_, key) => refuse(key),
    has: (_, key) => refuse(key),
    ownKeys: () => refuse('keys'),
  })
  inside.set(buffer, values)
  return buffer
}

function array(buffer: DeviceBuffer): TypedArray {
  const values = inside.get(buffer)
  if (!values) throw new Error('a buffer of another backend')
  return values
}

/** As the processor's backend takes them. */
const own = (buffer: DeviceBuffer): DeviceBuffer => cpu.upload(array(buffer))
const heldOwn = (buffer: DeviceBuffer): DeviceBuffer => held(buffer as unknown as TypedArray)
const mapped = (buffers: Buffers, map: (buffer: DeviceBuffer) => DeviceBuffer): Buffers =>
  Object.fromEntries(Object.entries(buffers).map(([name, buffer]) => [name, map(buffer)]))
const latentsOf = (latents: DeviceLatents): DeviceLatents =>
  Object.fromEntries(
    Object.entries(latents).map(([key, { kind, values, unit }]) => [
      key,
      { kind, values: own(values), unit: own(unit) },
    ]),
  )
const momentsOf = ({ first, second }: Moments): Moments => ({ first: own(first), second: own(second) })

export const copyingBackend: Backend = {
  zeros: (length) => held(new Float32Array(length)),
  upload: (values) => held(values.slice()),
  download: async <T extends TypedArray>(buffer: DeviceBuffer) => array(buffer).slice() as T,
  write(buffer, values) {
    if (values.length !== buffer.length) throw new Error(`${values.length} values for ${buffer.length}`)
    cpu.write(own(buffer), values)
  },
  view: (buffer, start, end) => held(array(buffer).subarray(start, end)),
  copy(to, from) {
    if (to.length !== from.length) throw new Error(`${from.length} values for ${to.length}`)
    cpu.copy(own(to), own(from))
  },
  fill: (buffer, value) => cpu.fill(own(buffer), value),
  add: (total, values) => cpu.add(own(total), own(values)),
  gatherRows: (table, tokens, columns) => heldOwn(cpu.gatherRows(own(table), tokens, columns)),
  scatterAddRows: (table, tokens, rows) => cpu.scatterAddRows(own(table), tokens, own(rows)),
  sumOfSquares: (buffers) => cpu.sumOfSquares(buffers.map(own)),
  async compile(graph, keepsMemory) {
    const program = await cpu.compile(graph, keepsMemory)
    return {
      async run(values, into = {}) {
        const results = await program.run(mapped(values, own), mapped(into, own))
        return Object.fromEntries(
          Object.entries(results).map(([name, result]) => [name, into[name] ?? heldOwn(result)]),
        )
      },
      dispose: () => program.dispose(),
    }
  },
  latentGrid(layout, latents) {
    const { stored, grid } = cpu.latentGrid(layout, latentsOf(latents))
    const { scales, mins, levels } = grid
    return {
      stored: mapped(stored, heldOwn),
      grid: { scales: heldOwn(scales), levels, ...(mins && { mins: heldOwn(mins) }) },
    }
  },
  roundToGrid: (values, { scales, mins, levels }, weights, codes) =>
    cpu.roundToGrid(
      own(values),
      { scales: own(scales), levels, ...(mins && { mins: own(mins) }) },
      own(weights),
      codes && own(codes),
    ),
  weightsOf: (codes, { scales, mins, levels }, weights) =>
    cpu.weightsOf(
      own(codes),
      { scales: own(scales), levels, ...(mins && { mins: own(mins) }) },
      own(weights),
    ),
  trainOnGrid: (values, gradient, { scales, mins, levels }, { products, gradients }, step) =>
    cpu.trainOnGrid(
      own(values),
      own(gradient),
      { scales: own(scales), levels, ...(mins && { mins: own(mins) }) },
      { products: own(products), gradients: own(gradients) },
      step && { ...step, moments: momentsOf(step.moments), unit: own(step.unit) },
    ),
  scaleGradients: (layout, latents, stored, { products, gradients }) =>
    mapped(
      cpu.scaleGradients(layout, latentsOf(latents), mapped(stored, own), {
        products: own(products),
        gradients: own(gradients),
      }),
      heldOwn,
    ),
  adam: (values, gradient, moments, unit, step) =>
    cpu.adam(own(values), own(gradient), momentsOf(moments), own(unit), step),
}
