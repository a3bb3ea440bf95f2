/** Matrix products of plain arrays or buffers on a device, for linear algebra between programs. */
import { input, matmul, mul, type ProgramGraph, sub, sum, type Tensor, transpose } from '../graph/index.js'
import type { Backend, Buffers, DeviceBuffer, Program } from './backend.js'
import { Programs } from './programs.js'

/** Rows of a product whose errors are summed at once. */
const rowsAtOnce = 512
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

  protected async product(
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

  /** X', for X (rows, n). */
  async transposed(x: DeviceBuffer, [rows, n]: readonly [number, number]): Promise<DeviceBuffer> {
    const program = await this.program(this.backend, `transpose ${rows} ${n}`, () => {
      const given = input([rows, n])
      return { inputs: { x: given }, outputs: { y: transpose(given, [1, 0]) } }
    })
    return (await program.run({ x })).y
  }

  async errors(
    x: Float32Array,
    w: Float32Array,
    shape: readonly [number, number, number],
    { target, metric }: ErrorOptions = {},
  ): Promise<Float32Array> {
    const found = await this.sums({ x, w, target, metric }, shape, ['y'], ({ inputs, error, times }) => ({
      inputs,
      outputs: { y: times(error, error) },
    }))
    return found.y
  }

  stepErrors(
    x: Float32Array,
    w: Float32Array,
    step: Float32Array,
    shape: readonly [number, number, number],
    { target, metric }: ErrorOptions,
  ): Promise<Record<'before' | 'both' | 'own', Float32Array>> {
    const names = ['before', 'both', 'own'] as const
    return this.sums({ x, w, step, target, metric }, shape, names, ({ inputs, error, times }) => {
      const [, k, n] = shape
      const step = input([n, k])
      const gained = matmul(inputs.x, step, { transB: true })
      const outputs = { before: times(error, error), both: times(error, gained), own: times(gained, gained) }
      return { inputs: { ...inputs, step }, outputs }
    })
  }

  /**
   * Runs a program with small outputs on some rows at a time, since its intermediate values have as many columns as there are outputs.
   * The inputs are in the machine's memory, so it runs there.
   */
  private async sums<Name extends string>(
    values: Readonly<Record<string, Float32Array | undefined>> & { readonly x: Float32Array },
    [rows, k, n]: readonly [number, number, number],
    names: readonly Name[],
    graph: (of: ReturnType<typeof errorGraph>) => ProgramGraph,
  ): Promise<Record<Name, Float32Array>> {
    const backend = this.backend.host ?? this.backend
    const given: Buffers = {}
    for (const [name, array] of Object.entries(values)) if (array) given[name] = backend.upload(array)
    const { x, target, metric } = given
    const found = Object.fromEntries(names.map((name) => [name, new Float32Array(rows)]))
    for (let from = 0; from < rows; from += rowsAtOnce) {
      const to = Math.min(rows, from + rowsAtOnce)
      const key = `${names} ${to - from} ${k} ${n} ${target !== undefined} ${metric !== undefined}`
      const program = await this.program(backend, key, () =>
        graph(errorGraph([to - from, k, n], target !== undefined, metric !== undefined)),
      )
      const out = await program.run({
        ...given,
        x: backend.view(x, from * k, to * k),
        ...(target && { target: backend.view(target, from * n, to * n) }),
      })
      for (const name of names) found[name].set(await backend.download(out[name]), from)
    }
    return found as Record<Name, Float32Array>
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
