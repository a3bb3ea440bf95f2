/** Buffers and programs of the backend of GPUs. Operations are queued and done in order, so a call that gives no values returns at once. */
import type { ProgramGraph } from '../../graph/lower.js'
import type { TypedArray } from '../../graph/tensor.js'
import type { Buffers, DeviceBuffer, Program } from '../backend.js'
import { cpu } from '../cpu/cpu.js'
import { bufferOf, Range, rangeOf } from './buffers.js'
import { Device, type DeviceTensor } from './device.js'
import { Queue } from './queue.js'
import { addGraph, gatherGraph, scatterGraph, squaresGraph } from './rows.js'

type Tensors = Record<string, DeviceTensor>

export class DeviceMemory {
  readonly queues = true
  readonly host = cpu
  readonly device: Device
  private readonly queue = new Queue()

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

  /** Queues a program of the backend's own. */
  protected later(
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
export type Ranges = Readonly<Record<string, Range | number>>

async function read(buffers: Buffers): Promise<Tensors> {
  const tensors: Tensors = {}
  for (const [name, buffer] of Object.entries(buffers)) tensors[name] = await rangeOf(buffer).read()
  return tensors
}

function release(tensors: Tensors): void {
  for (const tensor of Object.values(tensors)) tensor.release()
}
