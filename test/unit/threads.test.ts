/** Threads by processors, by the limit of a container and by the environment. */
import { describe, expect, test } from 'vitest'
import { UsageError } from '../../src/errors.js'
import { cpuQuota, crowdedThreads, idleCores, threadsOf, waitedForCores } from '../../src/threads.js'

/** The quota that a file system with only these files gives. */
const quotaOf = (files: Record<string, string>) => cpuQuota((path) => files[path])
const cgroup = '/sys/fs/cgroup'

test('cgroup v2', () => {
  const self = { '/proc/self/cgroup': '0::/a.slice/b.scope\n' }
  const inner = `${cgroup}/a.slice/b.scope/cpu.max`
  expect(quotaOf({ ...self, [inner]: '50000 100000\n' })).toBe(0.5)
  expect(quotaOf({ ...self, [inner]: 'max 100000\n' })).toBeUndefined()
  expect(
    quotaOf({ ...self, [inner]: '400000 100000\n', [`${cgroup}/a.slice/cpu.max`]: '150000 100000' }),
  ).toBe(1.5)
  expect(quotaOf({ ...self, [inner]: 'max 100000', [`${cgroup}/a.slice/cpu.max`]: '300000 100000' })).toBe(3)
  // A container that sees its own group as the root, under the name outside or none.
  expect(quotaOf({ ...self, [`${cgroup}/cpu.max`]: '200000 100000' })).toBe(2)
  expect(quotaOf({ '/proc/self/cgroup': '0::/\n', [`${cgroup}/cpu.max`]: '50000 100000\n' })).toBe(0.5)
  expect(quotaOf({ '/proc/self/cgroup': '0::/../../up\n', [`${cgroup}/cpu.max`]: '50000 100000\n' })).toBe(
    0.5,
  )
})

test('cgroup v1, alone and beside v2', () => {
  const v1 = (folder: string, quota: string, period = '100000\n') => ({
    [`${folder}/cpu.cfs_quota_us`]: quota,
    [`${folder}/cpu.cfs_period_us`]: period,
  })
  const self = { '/proc/self/cgroup': '9:name=systemd:/x\n4:memory:/m\n3:cpu,cpuacct:/docker/1\n0::/\n' }
  expect(quotaOf({ ...self, ...v1(`${cgroup}/cpu,cpuacct/docker/1`, '50000\n') })).toBe(0.5)
  expect(quotaOf({ ...self, ...v1(`${cgroup}/cpu/docker/1`, '250000\n') })).toBe(2.5)
  expect(quotaOf({ ...self, ...v1(`${cgroup}/cpu`, '100000\n') })).toBe(1)
  expect(quotaOf({ ...self, ...v1(`${cgroup}/cpu/docker/1`, '-1\n') })).toBeUndefined()
  expect(quotaOf({ ...self, ...v1(`${cgroup}/memory`, '50000\n') })).toBeUndefined()
  const alone = { '/proc/self/cgroup': '1:cpu:/\n0::/\n' }
  expect(quotaOf({ ...alone, ...v1(`${cgroup}/cpu`, '50000', '100000') })).toBe(0.5)
  expect(quotaOf({ ...alone, [`${cgroup}/cpu/cpu.cfs_quota_us`]: '50000' })).toBeUndefined()
})

test('no groups, and files that hold something else', () => {
  expect(quotaOf({})).toBeUndefined()
  for (const self of ['', 'garbage', '0:/', '0::relative', '::::', '0::/\0'])
    expect(quotaOf({ '/proc/self/cgroup': self })).toBeUndefined()
  for (const limit of [
    '',
    ' ',
    'max',
    '50000',
    '0 100000',
    '50000 0',
    '-1 100000',
    '5e4 1e5',
    '9'.repeat(400),
  ])
    expect(quotaOf({ '/proc/self/cgroup': '0::/', [`${cgroup}/cpu.max`]: limit })).toBeUndefined()
})

test('at least one thread, at most as many as processors, and the limit where it counts', () => {
  expect(threadsOf(undefined, 8, 8, undefined)).toEqual({ count: 8 })
  expect(threadsOf('', 8, 8, 0.5)).toEqual({ count: 1, quota: 0.5 })
  expect(threadsOf(undefined, 8, 8, 2.9)).toEqual({ count: 2, quota: 2.9 })
  expect(threadsOf(undefined, 8, 8, 64)).toEqual({ count: 8 })
  expect(threadsOf(undefined, 8, 8, 8)).toEqual({ count: 8 })
  expect(threadsOf(undefined, 1, 8, 4)).toEqual({ count: 1 })
  expect(threadsOf(undefined, 2, 8, 2)).toEqual({ count: 2, quota: 2 }) // Node counts it already
  expect(threadsOf('3', 8, 8, 0.5)).toEqual({ count: 3 })
  for (const wanted of ['0', '-1', '1.5', '1e2', '0x10', 'NaN', '1025', ' ', 'four'])
    expect(() => threadsOf(wanted, 8, 8, undefined)).toThrow(UsageError)
})

test('more threads than processors are warned of', () => {
  expect(crowdedThreads(2, '--threads', 2)).toBeUndefined()
  expect(crowdedThreads(99, '--threads', 2)).toMatch(
    /^99 threads on 2 processors: .* very slow; leave out --threads$/,
  )
})

describe('other processes', () => {
  const files = (running: number): Record<string, string> => ({
    '/proc/stat': `cpu 1 2 3\nprocs_running ${running}\nprocs_blocked 0\n`,
    '/proc/self/task/7/stat': '7 (node) R 1 7 7',
    '/proc/self/task/8/stat': '8 (a) S (b) R 1 7 7',
    '/proc/self/task/9/stat': '9 (worker) S 1 7 7',
    '/proc/self/task/7/schedstat': '900 2500000 3\n',
    '/proc/self/task/9/schedstat': '900 1500000 3\n',
  })
  const list = () => ['7', '8', '9']

  test('leave cores idle', () => {
    const cores = (running: number) => idleCores((path) => files(running)[path], list, 4)
    expect([2, 3, 6, 20].map(cores)).toEqual([4, 3, 0, -14])
    expect(
      idleCores(
        () => undefined,
        () => [],
        4,
      ),
    ).toBe(4)
  })

  test('make threads wait', () => {
    expect(waitedForCores((path) => files(1)[path], list)).toBe(4)
    expect(
      waitedForCores(
        () => undefined,
        () => [],
      ),
    ).toBeUndefined()
    expect(waitedForCores(() => undefined, list)).toBeUndefined()
  })
})
