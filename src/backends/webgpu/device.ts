/**
 * Tensors in the memory of a GPU, and the programs that turn them into others. A tensor never changes once it is made, so it can be
 * shared; it is freed when its last holder releases it.
 */
import { tmpdir } from 'node:os'
import { setImmediate } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node'
import { QuenchError } from '../../errors.js'
import { gigabytes } from '../../format.js'
import { topological } from '../../graph/grad.js'
import { lower, type ProgramGraph } from '../../graph/lower.js'
import { elementTypes, encodeModel } from '../../graph/onnx.js'
import type { DType, Shape, Tensor, TypedArray } from '../../graph/tensor.js'
import { unshape } from '../../graph/unshape.js'
import { onnxruntime } from '../onnxruntime.js'
import { failureOf } from './failure.js'

type NumberType = Exclude<DType, 'bool'>

/** An array in the memory of the device, with a count of its holders. */
export class DeviceTensor {
  private holders = 1

  constructor(
    private readonly device: Device,
    private readonly session: Session,
    private readonly tensor: OrtTensor,
    readonly length: number,
    readonly dtype: NumberType,
  ) {
    session.use()
  }

  hold(): this {
    this.holders++
    return this
  }

  release(): void {
    if (--this.holders > 0) return
    this.tensor.dispose()
    this.device.held -= 4 * this.length
    this.session.unuse()
  }

  /** As a program takes it. */
  shaped(dims: Shape): OrtTensor {
    return onnxruntime().Tensor.fromGpuBuffer(this.tensor.gpuBuffer, { dataType: this.dtype, dims })
  }
}

/** A session of onnxruntime. The tensors that it made lie in its memory, so it is freed after the last of them. */
class Session {
  private users = 1

  constructor(readonly own: InferenceSession) {}

  use(): void {
    this.users++
  }

  unuse(): void {
    if (--this.users === 0) void this.own.release()
  }
}

/** Garbage is collected once tensors have grown by this factor and these bytes. */
const growth = 1.25
const leastGarbage = 128 << 20

/** A compiled graph on the device. */
export interface DeviceProgram {
  readonly graph: ProgramGraph
  readonly session: Session
  /** Bytes of all outputs. */
  readonly bytes: number
}

export class Device {
  /** Bytes of all tensors. */
  held = 0
  /** The most that they have been. */
  peak = 0
  /** Bytes that were left when garbage was collected last. */
  private reachable = 0
  private readonly programs = new Map<string, Promise<DeviceProgram>>()
  private readonly copies = new Map<string, Promise<Session>>()
  private readonly scalars = new Map<string, DeviceTensor>()

  /** @param memory limit of `held` in bytes */
  constructor(private readonly memory: number) {}

  /** Loads onnxruntime and opens the device. @throws QuenchError if there is none */
  async open(): Promise<void> {
    const runtime = process.env.XDG_RUNTIME_DIR
    // Vulkan's libraries complain on the terminal where it is not set, as on servers.
    if (process.platform === 'linux') process.env.XDG_RUNTIME_DIR = runtime ?? tmpdir()
    onnxruntime()
    try {
      await this.copy('gpu-buffer', 'float32')
    } catch (error) {
      const [reason] = (error as Error).message.split('\n')
      throw new QuenchError(`no GPU can be used: ${needs[process.platform] ?? ''}${reasonOf(reason)}`, {
        cause: error,
      })
    } finally {
      if (runtime === undefined) delete process.env.XDG_RUNTIME_DIR
    }
  }

  async compile(shaped: ProgramGraph): Promise<DeviceProgram> {
    const graph = unshape(shaped)
    const lacks = topological(Object.values(graph.outputs)).some(({ op }) => withoutKernel.has(op.name))
    const session = await sessionOf(lower(graph, true), 'gpu-buffer', lacks)
    const bytes = Object.values(graph.outputs).reduce((sum, { size }) => sum + 4 * size, 0)
    return { graph, session, bytes }
  }

  /** Runs a program of the backend's own, compiled once for each key. */
  async apply(
    key: string,
    graph: () => ProgramGraph,
    inputs: Readonly<Record<string, DeviceTensor>>,
  ): Promise<Record<string, DeviceTensor>> {
    const program = this.programs.get(key) ?? this.compile(graph())
    this.programs.set(key, program)
    return this.run(await program, inputs)
  }

  /** @throws QuenchError if an input is missing or has the wrong length */
  async run(
    { session, graph, bytes }: DeviceProgram,
    inputs: Readonly<Record<string, DeviceTensor | undefined>>,
  ): Promise<Record<string, DeviceTensor>> {
    const feeds = Object.fromEntries(
      session.own.inputNames.map((name) => [name, fed(name, inputs[name], graph.inputs[name])]),
    )
    await this.reserve(bytes)
    const results = await running(() => session.own.run(feeds))
    return Object.fromEntries(
      Object.entries(graph.outputs).map(([name, { size, dtype }]) => [
        name,
        this.own(session, results[name], size, dtype as NumberType),
      ]),
    )
  }

  async upload(values: TypedArray): Promise<DeviceTensor> {
    const dtype = values instanceof Int32Array ? 'int32' : 'float32'
    const session = await this.copy('gpu-buffer', dtype)
    await this.reserve(4 * values.length)
    const x = new (onnxruntime().Tensor)(dtype as 'float32', values as Float32Array, [values.length])
    const { y } = await running(() => session.own.run({ x }))
    return this.own(session, y, values.length, dtype)
  }

  async download(tensor: DeviceTensor): Promise<TypedArray> {
    const { length, dtype } = tensor
    const session = await this.copy('cpu', dtype)
    const values = dtype === 'int32' ? new Int32Array(length) : new Float32Array(length)
    const y = new (onnxruntime().Tensor)(dtype as 'float32', values as Float32Array, [length])
    await running(() => session.own.run({ x: tensor.shaped([length]) }, { y }))
    return values
  }

  /** A few numbers, which many programs take. They must not be released. */
  async scalar(...values: readonly number[]): Promise<DeviceTensor> {
    const key = values.join(' ')
    const known = this.scalars.get(key)
    if (known) return known
    if (this.scalars.size > 64) {
      for (const each of this.scalars.values()) each.release()
      this.scalars.clear()
    }
    const made = await this.upload(Float32Array.from(values))
    this.scalars.set(key, made)
    return made
  }

  async dispose(): Promise<void> {
    const sessions = [
      ...[...this.programs.values()].map(async (program) => (await program).session),
      ...this.copies.values(),
    ]
    this.programs.clear()
    this.copies.clear()
    for (const each of this.scalars.values()) each.release()
    this.scalars.clear()
    for (const made of await Promise.allSettled(sessions)) if (made.status === 'fulfilled') made.value.unuse()
  }

  private own(session: Session, tensor: OrtTensor, length: number, dtype: NumberType): DeviceTensor {
    this.held += 4 * length
    this.peak = Math.max(this.peak, this.held)
    return new DeviceTensor(this, session, tensor, length, dtype)
  }

  /** The program that copies an array of any length, to or from the device. */
  private copy(to: 'gpu-buffer' | 'cpu', dtype: NumberType): Promise<Session> {
    const key = `${to} ${dtype}`
    const known = this.copies.get(key) ?? sessionOf(copyModel(dtype), to)
    this.copies.set(key, known)
    return known
  }

  /** Makes room for new tensors: buffers that nobody can reach any more are freed if they may be many, or memory is short. */
  private async reserve(bytes: number): Promise<void> {
    if (this.held + bytes <= Math.min(this.memory, growth * this.reachable + leastGarbage)) return
    await collectGarbage()
    this.reachable = this.held
    if (this.held + bytes > this.memory)
      throw new QuenchError(
        `the GPU needs ${gigabytes(this.held + bytes)} where --device-memory allows ${gigabytes(this.memory)}; allow more, or train less with --batch or --method`,
      )
  }
}

/** What a system needs for a GPU to be used. */
const needs: Partial<Record<NodeJS.Platform, string>> = {
  linux:
    'it needs the Vulkan loader (Debian and Ubuntu: apt-get install libvulkan1) and the Vulkan driver of the card; ',
  darwin: 'it needs a Mac with Apple silicon; ',
  win32: 'it needs a driver of Direct3D 12; ',
}

/** The end of onnxruntime's message, which begins with a place in its sources. */
const reasonOf = (message: string): string =>
  `onnxruntime says: ${message.split('was false. ').at(-1)?.trim()}`

function fed(name: string, tensor: DeviceTensor | undefined, { shape, size }: Tensor): OrtTensor {
  if (!tensor) throw new QuenchError(`program: no value for the input "${name}"`)
  if (tensor.length !== size)
    throw new QuenchError(
      `program: "${name}" has ${tensor.length} values where [${shape.join(', ')}] needs ${size}`,
    )
  return tensor.shaped(shape)
}

const copyModel = (dtype: NumberType): Uint8Array => {
  const value = { elementType: elementTypes[dtype], shape: ['length'] }
  return encodeModel({
    name: 'quench',
    opsets: { '': 17 },
    nodes: [{ type: 'Identity', domain: '', attributes: {}, inputs: ['x'], outputs: ['y'] }],
    initializers: [],
    inputs: [{ name: 'x', ...value }],
    outputs: [{ name: 'y', ...value }],
  })
}

/** Ops that onnxruntime has no kernel of on GPUs: their values are copied to the processor and back. */
const withoutKernel = new Set(['topK'])

/** @param copies whether nodes may run on the processor; else a node that the device lacks is an error */
async function sessionOf(model: Uint8Array, outputs: 'gpu-buffer' | 'cpu', copies = false): Promise<Session> {
  const session = await onnxruntime().InferenceSession.create(model, {
    executionProviders: [{ name: 'webgpu', storageBufferCacheMode: 'simple' }],
    preferredOutputLocation: outputs,
    logSeverityLevel: 4,
    // The processor does nothing, so no threads wait for work.
    ...{ intraOpNumThreads: 1, interOpNumThreads: 1 },
    extra: { session: { disable_cpu_ep_fallback: copies ? '0' : '1' } },
  })
  return new Session(session)
}

/** @throws QuenchError of one sentence if the device fails */
async function running<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw failureOf(error as Error)
  }
}

let collect: (() => void) | undefined

/** Collects garbage now, and lets finalizers run: JavaScript does not see how much memory of a device its garbage holds. */
async function collectGarbage(): Promise<void> {
  if (!collect) {
    setFlagsFromString('--expose-gc')
    collect = runInNewContext('gc') as () => void
  }
  collect()
  await setImmediate()
  await setImmediate()
}
