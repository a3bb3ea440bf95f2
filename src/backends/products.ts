/** Matrix products of plain arrays or buffers on a device, for linear algebra between programs. */
import { input, matmul, mul, type ProgramGraph, slice, sub, sum, type Tensor } from '../graph/index.js'
import type { Backend, DeviceBuffer, Program } from './backend.js'
import { Programs } from './programs.js'

/** Operations from which on a product of arrays in the machine's memory is worth its way to a device and back. */
const worthwhile = 1e9

/** What errors are measured against. */
interface ErrorOptions {
  /** Y, (rows, n); without it, zeros. */
  readonly target?: Float32Array
  /** M, (n, n), symmetric; without it, the identity matrix. */
  readonly metric?: Float32Array | undefined
}

/** Sums of errors, one for each row. */
export interface ErrorSums {
  /** e M e' of each row e of E = Y - X W', for X (rows, k) and W (n, k). */
  errors(
    x: Float32Array,
    w: Float32Array,
    shape: readonly [rows: number, k: number, n: number],
    options?: ErrorOptions,
  ): Promise<Float32Array>
  /** The same before a step D, (n, k), `own` of S = X D', and `both`: e M s'. */
  stepErrors(
    x: Float32Array,
    w: Float32Array,
    step: Float32Array,
    shape: readonly [rows: number, k: number, n: number],
    options: ErrorOptions,
  ): Promise<Record<'before' | 'both' | 'own', Float32Array>>
}

/** Compiles a program for each shape, once. */
export class Products implements ErrorSums {
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

  async errors(
    x: Float32Array,
    w: Float32Array,
    shape: readonly [number, number, number],
    { target, metric }: ErrorOptions = {},
  ): Promise<Float32Array> {
    const key = `errors ${shape} ${target !== undefined} ${metric !== undefined}`
    const found = await this.sums(key, { x, w, target, metric }, () => {
      const { inputs, error, times } = errorGraph(shape, target !== undefined, metric !== undefined)
      return { inputs, outputs: { y: times(error, error) } }
    })
    return found.y
  }

  async stepErrors(
    x: Float32Array,
    w: Float32Array,
    step: Float32Array,
    shape: readonly [number, number, number],
    { target, metric }: ErrorOptions,
  ): Promise<Record<'before' | 'both' | 'own', Float32Array>> {
    const key = `step errors ${shape} ${target !== undefined} ${metric !== undefined}`
    const found = await this.sums(key, { x, w, step, target, metric }, () => {
      const { inputs, error, times } = errorGraph(shape, target !== undefined, metric !== undefined)
      const [, k, n] = shape
      const step = input([n, k])
      const gained = matmul(inputs.x, step, { transB: true })
      const outputs = { before: times(error, error), both: times(error, gained), own: times(gained, gained) }
      return { inputs: { ...inputs, step }, outputs }
    })
    const { before, both, own } = found
    return { before, both, own }
  }

  /**
   * Runs a program with small outputs, which frees its memory: its intermediate values are as large as the inputs. Those are in the
   * machine's memory, so it runs there.
   */
  private async sums(
    key: string,
    values: Readonly<Record<string, Float32Array | undefined>>,
    graph: () => ProgramGraph,
  ): Promise<Record<string, Float32Array>> {
    const backend = this.backend.host ?? this.backend
    const program = await this.programs.get(key, () => backend.compile(graph(), false))
    const given = Object.entries(values).flatMap(([name, array]) =>
      array ? [[name, backend.upload(array)] as const] : [],
    )
    const out = await program.run(Object.fromEntries(given))
    const found: Record<string, Float32Array> = {}
    for (const [name, buffer] of Object.entries(out)) found[name] = await backend.download(buffer)
    return found
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

/** E of `ErrorSums`, and a M b' of each row of two matrices. */
function errorGraph([rows, k, n]: readonly [number, number, number], hasTarget: boolean, hasMetric: boolean) {
  const [x, w, target, metric] = [input([rows, k]), input([n, k]), input([rows, n]), input([n, n])]
  const product = matmul(x, w, { transB: true })
  const inputs = { x, w, ...(hasTarget && { target }), ...(hasMetric && { metric }) }
  const times = (a: Tensor, b: Tensor): Tensor => sum(mul(a, hasMetric ? matmul(b, metric) : b), [1])
  return { inputs, error: hasTarget ? sub(target, product) : product, times }
}
