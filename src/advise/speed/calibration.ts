/**
 * Speeds that `quench bench` measured on this machine, kept so that later estimates are corrected by them. What is stored of a
 * file is what a token makes the machine do, so the file need not be there any more.
 */
import type { Store } from '../../compare/store.js'
import { openGguf } from '../../gguf/index.js'
import { type Bench, thisMachine } from '../../speed/index.js'
import type { Machine } from '../machine/machine.js'
import { secondsOf } from './estimate.js'
import type { Calibration, Comparison } from './types.js'
import { bytesOf, type TokenWork, type Work, workOf } from './work.js'

interface Measured {
  readonly kind: 'prompt' | 'generate'
  readonly tokensPerSecond: number
  readonly work: {
    readonly weights: readonly Work[]
    readonly gpuLayers: number
    readonly cache: readonly (readonly [device: number, bytes: number])[]
  }
}

/** Of measurements; it changes when what is stored does. */
const version = 1

/** Keeps the results of a bench: of every file the test of each kind at the least depth. @throws FileError for a file that is gone */
export async function recordSpeeds(store: Store, bench: Bench): Promise<void> {
  const { kvType, gpuLayers, threads } = bench.settings
  const [keys, values = keys] = kvType.split('/')
  const at = new Date().toISOString()
  for (const { path, bytes, type, tests } of bench.files) {
    const gguf = await openGguf(path)
    await gguf.close()
    for (const kind of ['prompt', 'generate'] as const) {
      const test = tests.filter((each) => each.kind === kind).sort((a, b) => a.depth - b.depth)[0]
      if (!test) continue
      const work = workOf(gguf, {
        gpuLayers: gpuLayers < 0 ? Number.POSITIVE_INFINITY : gpuLayers,
        depth: test.depth + Math.ceil(test.tokens / 2),
        cacheTypes: { keys, values },
      })
      const inputs = {
        ...{ version, at, bytes, type, threads },
        ...{ kind, tokens: test.tokens, depth: test.depth, kvType, gpuLayers, machine: machineKey() },
      }
      const value: Measured = {
        kind,
        tokensPerSecond: test.tokensPerSecond.median,
        work: { ...work, cache: [...work.cache] },
      }
      store.put('speed', inputs, value)
    }
  }
}

/** How the machine's stored speeds compare with the estimates of them. Of a bench with other threads than usual nothing follows. */
export function calibrationOf(store: Store, machine: Machine): Calibration {
  const key = JSON.stringify(machineKey())
  const known = store
    .list<Measured>('speed')
    .filter(({ inputs }) => inputs.version === version && JSON.stringify(inputs.machine) === key)
    .filter(({ inputs: { threads } }) => threads === null || threads === machine.threads)
  const of = (kind: Measured['kind']): Comparison[] =>
    known
      .filter(({ value }) => value.kind === kind)
      .map(({ value: { tokensPerSecond, work } }) => {
        const token: TokenWork = { ...work, cache: new Map(work.cache) }
        return { bytes: bytesOf(token), ratio: 1 / tokensPerSecond / secondsOf(token, machine)[kind] }
      })
  return { generate: of('generate'), prompt: of('prompt') }
}

function machineKey() {
  const { cpu, cores, llama } = thisMachine()
  return { cores, cpu, llama }
}
