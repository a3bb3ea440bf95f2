/**
 * A graph compiled to an onnxruntime session. Runs read and write typed arrays; output arrays that the caller passes are
 * filled in place, which keeps thousands of training steps free of garbage.
 */
import type { InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node'
import { QuenchError } from '../../errors.js'
import { lower, type ProgramGraph } from '../../graph/lower.js'
import type { Tensor } from '../../graph/tensor.js'
import { unshape } from '../../graph/unshape.js'
import { threadCount } from '../../threads.js'
import type { Buffers, DeviceBuffer, Program } from '../backend.js'
import { onnxruntime } from '../onnxruntime.js'

export class CpuProgram implements Program {
  private constructor(
    private readonly session: InferenceSession,
    private readonly graph: ProgramGraph,
  ) {}

  /** See `Backend.compile`. */
  static async compile(shaped: ProgramGraph, keepsMemory = true): Promise<CpuProgram> {
    const graph = unshape(shaped)
    const session = await onnxruntime().InferenceSession.create(lower(graph), {
      executionProviders: ['cpu'],
      intraOpNumThreads: threadCount(),
      interOpNumThreads: 1,
      logSeverityLevel: 3,
      enableCpuMemArena: keepsMemory,
      enableMemPattern: keepsMemory,
      extra: { session: { intra_op: { allow_spinning: '0' } } },
    })
    return new CpuProgram(session, graph)
  }

  async run(values: Buffers, into: Buffers = {}): Promise<Buffers> {
    const feeds: Record<string, OrtTensor> = {}
    for (const name of this.session.inputNames)
      feeds[name] = this.tensor(name, values[name], this.graph.inputs[name])
    const results: Buffers = {}
    const fetches: Record<string, OrtTensor> = {}
    for (const [name, tensor] of Object.entries(this.graph.outputs)) {
      const made = () => new (tensor.dtype === 'int32' ? Int32Array : Float32Array)(tensor.size)
      const array = into[name] ?? (made() as unknown as DeviceBuffer)
      results[name] = array
      fetches[name] = this.tensor(name, array, tensor)
    }
    await this.session.run(feeds, fetches)
    return results
  }

  private tensor(name: string, array: DeviceBuffer | undefined, { shape, size, dtype }: Tensor): OrtTensor {
    if (!array) throw new QuenchError(`program: no value for the input "${name}"`)
    if (array.length !== size)
      throw new QuenchError(
        `program: "${name}" has ${array.length} values where [${shape.join(', ')}] needs ${size}`,
      )
    return new (onnxruntime().Tensor)(dtype as 'float32', array as unknown as Float32Array, shape)
  }

  async dispose(): Promise<void> {
    await this.session.release()
  }
}
