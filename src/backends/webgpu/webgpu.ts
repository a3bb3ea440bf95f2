/**
 * The backend of GPUs, through WebGPU (Vulkan, Metal or Direct3D 12): buffers stay on the device, and programs, rounding and Adam are
 * onnxruntime sessions there. Operations are queued and done in order, so a call that gives no values returns at once.
 */
import type { GridLayout } from '../../formats/format.js'
import { factorsOf } from '../../formats/grids.js'
import type { ProgramGraph } from '../../graph/lower.js'
import type { TypedArray } from '../../graph/tensor.js'
import type {
  AdamStep,
  Backend,
  Buffers,
  DeviceBuffer,
  DeviceGrid,
  DeviceLatents,
  Moments,
  Program,
} from '../backend.js'
import { moveOf } from '../cpu/adam.js'
import { cpu } from '../cpu/cpu.js'
import { bufferOf, Range, rangeOf } from './buffers.js'
import { Device, type DeviceTensor } from './device.js'
import {
  adamGraph,
  type GridSizes,
  latentGraph,
  roundGraph,
  scaleGradientsGraph,
  trainGraph,
  weightsGraph,
} from './grid.js'
import { Queue } from './queue.js'
import { addGraph, gatherGraph, scatterGraph, squaresGraph } from './rows.js'

type Tensors = Record<string, DeviceTensor>

export class WebGpu implements Backend {
  readonly queues = true
  readonly host = cpu
  readonly device: Device
  private readonly queue = new Queue()
  /** Numbers of the levels and layouts seen so far, for keys of programs. */
  private readonly numbers = new Map<object, number>()

  /** @param memory limit of the buffers in bytes */
  constructor(memory = Number.POSITIVE_INFINITY) {
    this.device = new Device(memory)
  }

  load(): Promise<void> {
    return this.queue.wait(() => this.device.open())
  }

  finish(): Promise<void> {
    return this.queue.wait(async () => {
      const one = await this.device.scalar(1)
      await this.device.download(one)
    })
  }

  dispose(): Promise<void> {
    return this.queue.wait(() => this.device.dispose())
  }

  zeros(length: number): DeviceBuffer {
    return bufferOf(Range.make(this.device, length))
  }

  upload(values: TypedArray): DeviceBuffer {
    const range = Range.make(this.device, values.length)
    this.queue.add(async () => range.write(await this.device.upload(values)))
    return bufferOf(range)
  }

  download<T extends TypedArray = Float32Array>(buffer: DeviceBuffer): Promise<T> {
    return this.queue.wait(async () => {
      const range = rangeOf(buffer)
      const { constant } = range
      if (constant !== undefined) return new Float32Array(range.length).fill(constant) as TypedArray as T
      const values = await range.read()
      const array = await this.device.download(values)
      values.release()
      return array as T
    })
  }

  write(buffer: DeviceBuffer, values: TypedArray): void {
    const range = rangeOf(buffer)
    if (values.length !== range.length) throw new RangeError(`${values.length} values for ${range.length}`)
    const copy = values.slice()
    this.queue.add(async () => range.write(await this.device.upload(copy)))
  }

  view(buffer: DeviceBuffer, start: number, end: number): DeviceBuffer {
    return bufferOf(rangeOf(buffer).view(start, end))
  }

  copy(to: DeviceBuffer, from: DeviceBuffer): void {
    const [own, other] = [rangeOf(to), rangeOf(from)]
    if (own.length !== other.length) throw new RangeError(`${other.length} values for ${own.length}`)
    this.queue.add(() => own.copy(other))
  }

  fill(buffer: DeviceBuffer, value: number): void {
    const range = rangeOf(buffer)
    this.queue.add(() => range.fill(value))
  }

  add(total: DeviceBuffer, values: DeviceBuffer): void {
    const [a, b] = [rangeOf(total), rangeOf(values)]
    this.queue.add(async () => {
      if (a.constant === 0) a.copy(b)
      else await this.apply(`add ${a.length}`, () => addGraph(a.length), { a, b }, { y: a })
    })
  }

  gatherRows(table: DeviceBuffer, tokens: Int32Array, columns: number): DeviceBuffer {
    const from = rangeOf(table)
    for (const token of tokens)
      if (token < 0 || (token + 1) * columns > from.length) throw new RangeError(`no row for token ${token}`)
    const rows = Range.make(this.device, tokens.length * columns)
    const ids = rangeOf(this.upload(tokens.slice()))
    const graph = (): ProgramGraph => gatherGraph(from.length / columns, columns, tokens.length)
    this.later(`gather ${from.length} ${columns} ${tokens.length}`, graph, { table: from, ids }, { rows })
    return bufferOf(rows)
  }

  scatterAddRows(table: DeviceBuffer, tokens: Int32Array, rows: DeviceBuffer): void {
    const [to, added] = [rangeOf(table), rangeOf(rows)]
    const columns = added.length / tokens.length
    const ids = rangeOf(this.upload(tokens.slice()))
    const graph = (): ProgramGraph => scatterGraph(to.length / columns, columns, tokens.length)
    this.later(
      `scatter ${to.length} ${columns} ${tokens.length}`,
      graph,
      { table: to, ids, rows: added },
      { sums: to },
    )
  }

  async sumOfSquares(buffers: readonly DeviceBuffer[]): Promise<number> {
    const sums = buffers.map((buffer) => {
      const { program, length } = squaresGraph(buffer.length)
      const part = Range.make(this.device, length)
      this.later(`squares ${buffer.length}`, program, { x: rangeOf(buffer) }, { y: part })
      return part
    })
    const all = Range.make(
      this.device,
      sums.reduce((total, { length }) => total + length, 0),
    )
    this.queue.add(() => {
      let at = 0
      for (const part of sums) {
        all.view(at, at + part.length).copy(part)
        at += part.length
      }
    })
    return (await this.download(bufferOf(all))).reduce((total, value) => total + value, 0)
  }

  async compile(graph: ProgramGraph): Promise<Program> {
    const program = await this.queue.wait(() => this.device.compile(graph))
    return {
      run: (values, into = {}) =>
        this.queue.wait(async () => {
          const inputs = await read(
            Object.fromEntries(
              program.session.own.inputNames.flatMap((n) => (values[n] ? [[n, values[n]]] : [])),
            ),
          )
          const out = await this.device.run(program, inputs)
          release(inputs)
          return Object.fromEntries(
            Object.entries(out).map(([name, tensor]) => {
              const range = into[name] ? rangeOf(into[name]) : Range.make(this.device, tensor.length)
              range.write(tensor)
              return [name, bufferOf(range)]
            }),
          )
        }),
      dispose: () => this.queue.wait(async () => program.session.unuse()),
    }
  }

  latentGrid(layout: GridLayout, latents: DeviceLatents): { stored: Buffers; grid: DeviceGrid } {
    const { counts, values } = scalesOf(layout, latents)
    const stored = mapped(counts, (length) => Range.make(this.device, length))
    const { block, group } = layout.scale
    const groups = counts[(group ?? block).field]
    const scales = Range.make(this.device, groups)
    const mins = layout.offset && Range.make(this.device, groups)
    const key = `latents ${this.numberOf(layout)} ${Object.values(counts)}`
    this.later(key, () => latentGraph(layout, counts), values, {
      ...{ ...stored, 'of groups': scales },
      ...(mins && { 'mins of groups': mins }),
    })
    const grid = { scales: bufferOf(scales), levels: layout.levels, ...(mins && { mins: bufferOf(mins) }) }
    return { stored: mapped(stored, bufferOf), grid }
  }

  roundToGrid(values: DeviceBuffer, grid: DeviceGrid, weights: DeviceBuffer, codes?: DeviceBuffer): void {
    const { sizes, inputs } = gridOf(values, grid)
    this.later(
      `round ${this.numberOf(grid.levels)} ${Object.values(sizes)}`,
      () => roundGraph(grid.levels, sizes),
      inputs,
      { weights: rangeOf(weights), ...(codes && { codes: rangeOf(codes) }) },
    )
  }

  weightsOf(codes: DeviceBuffer, grid: DeviceGrid, weights: DeviceBuffer): void {
    const { sizes, inputs } = gridOf(codes, grid)
    this.later(`weights ${Object.values(sizes)}`, () => weightsGraph(sizes), inputs, {
      weights: rangeOf(weights),
    })
  }

  trainOnGrid(
    values: DeviceBuffer,
    gradient: DeviceBuffer,
    grid: DeviceGrid,
    sums: Parameters<Backend['trainOnGrid']>[3],
    step?: AdamStep & { readonly moments: Moments; readonly unit: DeviceBuffer },
  ): void {
    const { sizes, inputs } = gridOf(values, grid)
    const [products, gradients] = [rangeOf(sums.products), rangeOf(sums.gradients)]
    const key = `train ${this.numberOf(grid.levels)} ${Object.values(sizes)} ${step !== undefined}`
    const adam = step && this.adamState(values, step.moments, step.unit, step)
    this.later(
      key,
      () => trainGraph(grid.levels, sizes, step !== undefined),
      { ...inputs, gradient: rangeOf(gradient), ...adam?.inputs },
      { products, gradients, ...adam?.outputs },
    )
  }

  scaleGradients(
    layout: GridLayout,
    latents: DeviceLatents,
    stored: Buffers,
    sums: Parameters<Backend['scaleGradients']>[3],
  ): Buffers {
    const { counts, values } = scalesOf(layout, latents)
    const gradients = mapped(counts, (length) => Range.make(this.device, length))
    const groups = sums.products.length
    this.later(
      `scales ${this.numberOf(layout)} ${Object.values(counts)}`,
      () => scaleGradientsGraph(layout, counts, groups),
      {
        ...{ ...values, ...mapped(stored, rangeOf) },
        ...{ products: rangeOf(sums.products), gradients: rangeOf(sums.gradients) },
      },
      Object.fromEntries(Object.entries(gradients).map(([field, range]) => [`d ${field}`, range])),
    )
    return mapped(gradients, bufferOf)
  }

  adam(
    values: DeviceBuffer,
    gradient: DeviceBuffer,
    moments: Moments,
    unit: DeviceBuffer,
    step: AdamStep,
  ): void {
    const { inputs, outputs } = this.adamState(values, moments, unit, step)
    this.later(
      `adam ${values.length} ${unit.length}`,
      () => adamGraph(values.length, unit.length),
      { ...inputs, values: rangeOf(values), gradient: rangeOf(gradient) },
      outputs,
    )
  }

  private adamState(
    values: DeviceBuffer,
    { first, second }: Moments,
    unit: DeviceBuffer,
    step: AdamStep,
  ): { inputs: Ranges; outputs: Record<string, Range> } {
    return {
      inputs: {
        ...{ first: rangeOf(first), second: rangeOf(second), unit: rangeOf(unit) },
        ...{ gradientScale: step.gradientScale, move: moveOf(step) },
      },
      outputs: {
        moved: rangeOf(values),
        'first moment': rangeOf(first),
        'second moment': rangeOf(second),
      },
    }
  }

  private numberOf(of: object): number {
    const known = this.numbers.get(of) ?? this.numbers.size
    this.numbers.set(of, known)
    return known
  }

  /** Queues a program of the backend's own. */
  private later(
    key: string,
    graph: () => ProgramGraph,
    inputs: Ranges,
    outputs: Record<string, Range>,
  ): void {
    this.queue.add(() => this.apply(key, graph, inputs, outputs))
  }

  private async apply(
    key: string,
    graph: () => ProgramGraph,
    inputs: Ranges,
    outputs: Record<string, Range>,
  ): Promise<void> {
    const given: Tensors = {}
    for (const [name, range] of Object.entries(inputs))
      given[name] = typeof range === 'number' ? (await this.device.scalar(range)).hold() : await range.read()
    const out = await this.device.apply(key, graph, given)
    release(given)
    for (const [name, tensor] of Object.entries(out))
      if (outputs[name]) outputs[name].write(tensor)
      else tensor.release()
  }
}

/** Buffers and numbers that a program takes. */
type Ranges = Readonly<Record<string, Range | number>>

async function read(buffers: Buffers): Promise<Tensors> {
  const tensors: Tensors = {}
  for (const [name, buffer] of Object.entries(buffers)) tensors[name] = await rangeOf(buffer).read()
  return tensors
}

function release(tensors: Tensors): void {
  for (const tensor of Object.values(tensors)) tensor.release()
}

const mapped = <A, B>(record: Readonly<Record<string, A>>, map: (value: A) => B): Record<string, B> =>
  Object.fromEntries(Object.entries(record).map(([name, value]) => [name, map(value)]))

/** The latent scales and minimums of a layout, and how many there are, by field. */
function scalesOf(
  layout: GridLayout,
  latents: DeviceLatents,
): { counts: Record<string, number>; values: Record<string, Range> } {
  const fields = factorsOf(layout).flatMap(({ block, group }) =>
    group ? [block.field, group.field] : [block.field],
  )
  const ranges = fields.map((field) => [field, rangeOf(latents[field].values)] as const)
  return {
    counts: Object.fromEntries(ranges.map(([field, { length }]) => [field, length])),
    values: Object.fromEntries(ranges.map(([field, range]) => [`latent ${field}`, range])),
  }
}

function gridOf(
  values: DeviceBuffer,
  { scales, mins }: DeviceGrid,
): { sizes: GridSizes; inputs: Record<string, Range> } {
  return {
    sizes: { values: values.length, groups: scales.length, mins: mins !== undefined },
    inputs: {
      ...{ values: rangeOf(values), scales: rangeOf(scales) },
      ...(mins && { mins: rangeOf(mins) }),
    },
  }
}
