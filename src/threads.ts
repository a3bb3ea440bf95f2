/** The number of threads that quench may use, for everything that starts threads. */
import { readdirSync, readFileSync } from 'node:fs'
import { availableParallelism, cpus } from 'node:os'
import { posix } from 'node:path'
import { UsageError } from './errors.js'
import { plural } from './format.js'

interface Threads {
  readonly count: number
  /** The container's CPU limit, if it allows fewer threads than the machine has processors. */
  readonly quota?: number
}

/** libllama's limit. */
export const mostThreads = 512

/** Reads a small file; undefined if it does not exist. */
type Read = (path: string) => string | undefined

let found: Threads | undefined
let ofMachine: number | undefined

/**
 * `QUENCH_THREADS` if set, else the processors that this process may run on, but at most the container's limit. The split of a
 * matrix product, and so the last bit of a result, depends on it.
 * @throws UsageError if the variable is not a whole number from 1 to 512
 */
export const threadCount = (): number => availableThreads().count

/** Of a model of so many weights, if no number is asked for: in smaller models, threads spend more time waiting for each other than working. */
export const threadsForModel = (weights: number): number =>
  Math.max(1, Math.min(threadCount(), Math.floor(weights / 1e6)))

/** Sets the number of threads, overriding `QUENCH_THREADS`, also for threads and processes started later. */
export function useThreads(count: number): void {
  process.env.QUENCH_THREADS = String(count)
  found = { count }
  ofMachine ??= threadsOf(undefined, availableParallelism(), cpus().length, cpuQuota(readSmall)).count
}

/** Threads that can run at once on this machine, even if fewer were requested on the command line. */
export const machineThreads = (): number => ofMachine ?? threadCount()

/**
 * A sentence about more threads than processors; undefined if there are enough. The number is left as it was asked for, since results
 * depend on it. @param by what set it
 */
export function crowdedThreads(
  count: number,
  by: string,
  processors = availableParallelism(),
): string | undefined {
  if (count <= processors) return undefined
  return `${plural(count, 'thread')} on ${plural(processors, 'processor')}: llama.cpp's threads wait for each other, so this may be very slow; leave out ${by}`
}

/** Names in a folder; none if it does not exist. */
type List = (path: string) => readonly string[]

/** Cores on which no other process runs at this moment; all of them where the system does not tell. */
export function idleCores(read: Read = readSmall, list: List = listSmall, cores = cpus().length): number {
  const running = Number(/^procs_running (\d+)$/m.exec(read('/proc/stat') ?? '')?.[1] ?? 0)
  const own = list(tasks).filter((id) => /\) R /.test(read(`${tasks}/${id}/stat`) ?? '')).length
  return cores - Math.max(0, running - own)
}

/** Milliseconds that threads of this process have waited for a core so far, all together; undefined where the system does not tell. */
export function waitedForCores(read: Read = readSmall, list: List = listSmall): number | undefined {
  const waited = list(tasks).map((id) =>
    Number(read(`${tasks}/${id}/schedstat`)?.split(' ')[1] ?? Number.NaN),
  )
  const known = waited.filter((nanoseconds) => Number.isFinite(nanoseconds))
  return known.length === 0 ? undefined : known.reduce((sum, nanoseconds) => sum + nanoseconds, 0) / 1e6
}

const tasks = '/proc/self/task'

/** `threadCount` with its reason. */
export function availableThreads(): Threads {
  found ??= threadsOf(process.env.QUENCH_THREADS, availableParallelism(), cpus().length, cpuQuota(readSmall))
  return found
}

/**
 * @param processors those that this process may run on; newer releases of Node apply the quota to them
 * @param machine all processors
 */
export function threadsOf(
  wanted: string | undefined,
  processors: number,
  machine: number,
  quota: number | undefined,
): Threads {
  if (wanted !== undefined && wanted !== '') {
    const count = /^\d+$/.test(wanted) ? Number(wanted) : 0
    if (count < 1 || count > mostThreads)
      throw new UsageError(`QUENCH_THREADS is "${wanted}"; set it to a whole number from 1 to ${mostThreads}`)
    return { count }
  }
  if (quota === undefined) return { count: processors }
  const count = Math.max(1, Math.floor(quota))
  return count <= processors && count < machine ? { count, quota } : { count: Math.min(count, processors) }
}

const root = '/sys/fs/cgroup'

/**
 * CPU limit in processors: the smallest quota / period of this process's control group and its ancestors, for cgroup v2
 * (`cpu.max`) and v1 (`cpu.cfs_quota_us`, `cpu.cfs_period_us`); undefined if there is no limit. In a container, the group is
 * often mounted as the root but named as outside, so missing groups are skipped.
 */
export function cpuQuota(read: Read): number | undefined {
  const quotas: number[] = []
  const add = (quota = '', period = ''): void => {
    if (/^\d{1,15}$/.test(quota) && /^\d{1,15}$/.test(period) && Number(quota) > 0 && Number(period) > 0)
      quotas.push(Number(quota) / Number(period))
  }
  for (const line of (read('/proc/self/cgroup') ?? '').split('\n')) {
    const [, controllers, path] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? []
    if (path === undefined) continue
    if (controllers === '')
      for (const folder of upwards(root, path)) {
        const [quota, period] = (read(`${folder}/cpu.max`) ?? '').trim().split(/\s+/)
        add(quota, period)
      }
    if (controllers.split(',').includes('cpu'))
      for (const mount of new Set([controllers, 'cpu']))
        for (const folder of upwards(`${root}/${mount}`, path))
          add(read(`${folder}/cpu.cfs_quota_us`)?.trim(), read(`${folder}/cpu.cfs_period_us`)?.trim())
  }
  return quotas.length === 0 ? undefined : Math.min(...quotas)
}

/** The folder of a control group and its ancestors, up to the mount. */
function upwards(mount: string, path: string): string[] {
  const folders: string[] = []
  for (let at = posix.normalize(path); at !== '/'; at = posix.dirname(at)) folders.push(posix.join(mount, at))
  return [...folders, mount]
}

function listSmall(path: string): readonly string[] {
  try {
    return readdirSync(path)
  } catch {
    return []
  }
}

function readSmall(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
