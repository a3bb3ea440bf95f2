/** Chooses what computes, by the time of the first block. */
import type { Backend } from '../backends/backend.js'
import { type DeviceName, openDevice } from '../backends/devices.js'
import { gpuProblem } from '../backends/webgpu/probe.js'
import type { Plan } from '../config/plan.js'
import { onDevice } from '../engine/device-weights.js'
import { Network } from '../engine/network.js'
import { QuenchError } from '../errors.js'
import type { Batch } from '../models/architecture.js'
import { Random } from '../random.js'
import type { Source } from '../student/source.js'
import { enough, timed } from './timed.js'

interface Chosen {
  readonly backend: Backend
  readonly device: NonNullable<Plan['device']>
}

/** Runs of the block that are timed unless they take long, of which the fastest counts. */
const runs = 3

/**
 * Opens a device. `auto`: a GPU if there is one that runs the first block faster than the processor.
 * @throws QuenchError if a device that was asked for is missing
 */
export async function chooseDevice(
  source: Source,
  batch: Batch,
  asked: DeviceName | 'auto',
  memory: number | undefined,
): Promise<Chosen> {
  // In another process, since a driver may print what it likes, or end the process.
  const why = asked === 'cpu' ? undefined : await gpuProblem()
  if (asked !== 'auto') {
    if (why !== undefined) throw new QuenchError(why)
    return { backend: await openDevice(asked, memory), device: { name: asked } }
  }
  const cpu = await openDevice('cpu')
  if (why !== undefined) return { backend: cpu, device: { name: 'cpu', why } }
  const gpu = await openDevice('webgpu', memory)
  const [slow, fast] = [await blockSeconds(source, batch, cpu), await blockSeconds(source, batch, gpu)]
  const times = (factor: number): string => `the first block ${factor.toFixed(1)} times as fast`
  if (fast < slow)
    return { backend: gpu, device: { name: 'webgpu', why: `it runs ${times(slow / fast)} as the processor` } }
  await gpu.dispose?.()
  return { backend: cpu, device: { name: 'cpu', why: `it runs ${times(fast / slow)} as the GPU` } }
}

/** Seconds of a batch through the first block, forward. */
async function blockSeconds(source: Source, batch: Batch, backend: Backend): Promise<number> {
  const network = new Network(backend, source.architecture, source.config, batch)
  const weights = onDevice(backend, source.weights)
  const random = new Random(1)
  const tokens = Int32Array.from({ length: network.tokens }, () => random.int(network.config.vocabulary))
  const activations = await network.embed(tokens, weights)
  const pass = async (): Promise<void> => {
    await network.block(0, { x: activations.x, sideInputs: new Map(activations.sideInputs) }, weights)
    await backend.finish?.()
  }
  await pass() // compiles
  const times: number[] = []
  do times.push(await timed(pass))
  while (times.length < runs && times[0] < enough)
  await network.dispose()
  return Math.min(...times)
}
