/**
 * Programs: a graph compiled to an onnxruntime session. Runs read typed arrays and write typed arrays; a caller that
 * passes its own output arrays has them filled in place, which keeps thousands of training steps free of garbage.
 */
import { releaseAll } from '../cleanup.js'
import { QuenchError } from '../errors.js'
import { lower, type ProgramGraph } from '../graph/lower.js'
import type { Tensor, TypedArray } from '../graph/tensor.js'
import { unshape } from '../graph/unshape.js'
import { threadCount } from '../threads.js'
import { InferenceSession, Tensor as OrtTensor } from './onnxruntime.js'

export type Values = Record<string, TypedArray>

export class Program {
  private constructor(
    private readonly session: InferenceSession,
    private readonly graph: ProgramGraph,
  ) {}

  /**
   * Compiles a graph for the cpu. Inputs that no output depends on need not be fed.
   * @param keepsMemory whether it keeps the memory of its intermediate values from one run to the next, which is faster, or gives it
   * back
   */
  static async compile(shaped: ProgramGraph, keepsMemory = true): Promise<Program> {
    const graph = unshape(shaped)
    const session = await InferenceSession.create(lower(graph), {
      executionProviders: ['cpu'],
      intraOpNumThreads: threadCount(),
      interOpNumThreads: 1,
      logSeverityLevel: 3,
      enableCpuMemArena: keepsMemory,
      enableMemPattern: keepsMemory,
      extra: { session: { intra_op: { allow_spinning: '0' } } },
    })
    return new Program(session, graph)
  }

  /**
   * Runs the program. Outputs named in `into` are written to those arrays, the others to new ones.
   * @throws QuenchError if an input is missing or an array has the wrong length
   */
  async run(values: Values, into: Values = {}): Promise<Record<string, Float32Array>> {
    const feeds: Record<string, OrtTensor> = {}
    for (const name of this.session.inputNames)
      feeds[name] = this.tensor(name, values[name], this.graph.inputs[name])
    const results: Record<string, Float32Array> = {}
    const fetches: Record<string, OrtTensor> = {}
    for (const [name, tensor] of Object.entries(this.graph.outputs)) {
      const array = into[name] ?? new (tensor.dtype === 'int32' ? Int32Array : Float32Array)(tensor.size)
      results[name] = array as Float32Array
      fetches[name] = this.tensor(name, array, tensor)
    }
    await this.session.run(feeds, fetches)
    return results
  }

  private tensor(name: string, array: TypedArray | undefined, { shape, size, dtype }: Tensor): OrtTensor {
    if (!array) throw new QuenchError(`program: no value for the input "${name}"`)
    if (array.length !== size)
      throw new QuenchError(
        `program: "${name}" has ${array.length} values where [${shape.join(', ')}] needs ${size}`,
      )
    return new OrtTensor(dtype as 'float32', array as Float32Array, shape)
  }

  async dispose(): Promise<void> {
    await this.session.release()
  }
}

/** Programs that are compiled once for each key. */
export class Programs {
  private readonly compiled = new Map<string, Promise<Program>>()

  /** @param compile only called for a key that is new, or whose program could not be compiled */
  get(key: string, compile: () => Promise<Program>): Promise<Program> {
    const known = this.compiled.get(key)
    if (known) return known
    const program = compile()
    this.compiled.set(key, program)
    program.catch(() => this.compiled.delete(key))
    return program
  }

  /** Frees all of them; those that are used again are compiled anew. */
  async dispose(): Promise<void> {
    const compiled = await Promise.allSettled(this.compiled.values())
    this.compiled.clear()
    await releaseAll(
      compiled.flatMap((each) => (each.status === 'fulfilled' ? [() => each.value.dispose()] : [])),
    )
  }
}
