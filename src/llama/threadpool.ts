/**
 * Threads that persist between graphs. Without a pool, ggml starts new threads for every decode and ends them after it; a
 * thread that starts on its parent's core waits there for the scheduler while the parent spins, which made single tokens of a
 * small model 50 times as slow with two threads as with one. llama.cpp's own programs attach a pool too.
 *
 * All contexts with the same number of threads share a pool, so that idle pools do not spin next to a working one. A pool runs
 * one graph at a time: `run` queues the others.
 */
import koffi from 'koffi'
import { library } from './library.js'
import type { Pointer } from './structs.js'

/** `ggml_threadpool_params`: 512 CPU flags, int threads, int priority, uint32 poll, two flags. */
const paramsBytes = 528
const pollOffset = 520
/** How long an idle thread spins before it sleeps, 0 to 100. llama.cpp's 50 is 0.2 s, during which others could work. */
const poll = 5

const pools = new Map<number, ThreadPool>()

export class ThreadPool {
  private holders = 0
  private last: Promise<unknown> = Promise.resolve()

  private constructor(
    private readonly threads: number,
    readonly pointer: Pointer,
  ) {}

  /** The pool of this number of threads, to be released; undefined if one thread or this build of llama.cpp needs none. */
  static acquire(threads: number): ThreadPool | undefined {
    if (threads < 2) return undefined
    let pool = pools.get(threads)
    if (!pool) {
      const pointer = create(threads)
      if (pointer === null) return undefined
      pool = new ThreadPool(threads, pointer)
      pools.set(threads, pool)
    }
    pool.holders++
    return pool
  }

  /** Frees the threads after the last release. */
  release(): void {
    if (--this.holders > 0) return
    pools.delete(this.threads)
    cpuFunction('ggml_threadpool_free', 'void')?.(this.pointer)
  }

  /** Runs `work` after the graphs before it. */
  run<T>(work: () => Promise<T>): Promise<T> {
    const result = this.last.then(work)
    this.last = result.catch(() => {})
    return result
  }
}

function create(threads: number): Pointer | null {
  const make = cpuFunction('ggml_threadpool_new', 'void *')
  if (!make) return null
  const params = new Uint8Array(paramsBytes)
  library().threadpoolParams(params, threads)
  new DataView(params.buffer).setUint32(pollOffset, poll, true)
  return make(params) as Pointer | null
}

const types = new Map<string, ReturnType<typeof koffi.proto>>()

/** A function of the CPU backend, which is chosen at run time and so cannot be linked by name. */
function cpuFunction(
  name: string,
  result: string,
): ((argument: Uint8Array | Pointer) => unknown) | undefined {
  const { backendByName, backendFunction } = library()
  const backend = backendByName('CPU')
  const address = backend === null ? null : backendFunction(backend, name)
  if (address === null) return undefined
  let type = types.get(name)
  if (!type) {
    type = koffi.proto(name, result, ['void *'])
    types.set(name, type)
  }
  return koffi.decode(address, type)
}
