/** Matrix products of plain arrays or buffers on a device, for linear algebra between programs. */
import { input, matmul, type ProgramGraph, slice, type Tensor } from '../graph/index.js'
import type { Backend, DeviceBuffer, Program } from './backend.js'
import { Programs } from './programs.js'

/** Operations from which on a product of arrays in the machine's memory is worth its way to a device and back. */
const worthwhile = 1e9

/** Compiles a program for each shape, once. */
export class Products {
  private readonly programs = new Programs()

  /** @param keepsMemory see `Backend.compile` */
  constructor(
    readonly backend: Backend,
    private readonly keepsMemory = true,
  ) {}

  /**
   * a (m, k) times b (k, n), both f32 and row-major; `transA`, `transB`: that operand is stored transposed.
   * The result is a new array.
   */
  async multiply(
    a: Float32Array,
    b: Float32Array,
    shape: readonly [number, number, number],
    options: { transA?: boolean; transB?: boolean } = {},
  ): Promise<Float32Array> {
    const { backend } = this
    const isSmall = 2 * shape[0] * shape[1] * shape[2] < worthwhile
    const on = isSmall ? (backend.host ?? backend) : backend
    return on.download(await this.product(on, on.upload(a), on.upload(b), shape, options))
  }

  /** The same for buffers. */
  ofBuffers(
    a: DeviceBuffer,
    b: DeviceBuffer,
    shape: readonly [number, number, number],
    options: { transA?: boolean; transB?: boolean } = {},
  ): Promise<DeviceBuffer> {
    return this.product(this.backend, a, b, shape, options)
  }

  private async product(
    backend: Backend,
    a: DeviceBuffer,
    b: DeviceBuffer,
    [m, k, n]: readonly [number, number, number],
    { transA = false, transB = false }: { transA?: boolean; transB?: boolean },
  ): Promise<DeviceBuffer> {
    const where = backend === this.backend ? '' : 'host '
    const program = await this.program(backend, `${where}${m} ${k} ${n} ${transA} ${transB}`, () => {
      const [left, right] = [input(transA ? [k, m] : [m, k]), input(transB ? [n, k] : [k, n])]
      return { inputs: { a: left, b: right }, outputs: { y: matmul(left, right, { transA, transB }) } }
    })
    return (await program.run({ a, b })).y
  }

  /** `width` rows of X'X, for X (rows, n), from row and column `from` on: (width, n - from). */
  async gram(
    x: DeviceBuffer,
    [rows, n]: readonly [number, number],
    from: number,
    width: number,
  ): Promise<DeviceBuffer> {
    const program = await this.program(this.backend, `gram ${rows} ${n} ${from} ${width}`, () => {
      const all = input([rows, n])
      const columns = (to: number): Tensor => (from === 0 && to === n ? all : slice(all, 1, from, to))
      const y = matmul(columns(from + width), columns(n), { transA: true })
      return { inputs: { x: all }, outputs: { y } }
    })
    return (await program.run({ x })).y
  }

  private program(backend: Backend, key: string, graph: () => ProgramGraph): Promise<Program> {
    return this.programs.get(key, () => backend.compile(graph(), this.keepsMemory))
  }

  /** Total seconds of compilation. */
  get compiling(): number {
    return this.programs.compiling
  }

  dispose(): Promise<void> {
    return this.programs.dispose()
  }
}
