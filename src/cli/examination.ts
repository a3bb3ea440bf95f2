/** The checks of `quench doctor`. A problem does not end them: all problems are collected, each with its remedy. */
import { createRequire } from 'node:module'
import { cpus } from 'node:os'
import { listCache } from '../cache.js'
import { cacheFolder } from '../cache-folder.js'
import type { Device } from '../llama/index.js'
import { memoryLimits } from '../memory.js'
import { availableThreads } from '../threads.js'
import { humanBytes } from './terminal/format.js'

interface Missing {
  /** The problem, in one sentence. */
  readonly what: string
  /** The remedy, in one sentence; empty if the problem's sentence names it. */
  readonly how: string
}

interface Examination {
  readonly versions: {
    readonly quench: string
    readonly node: string
    /** Versions of the packages and of the llama.cpp in them. */
    readonly llama?: string
    readonly onnxruntime?: string
  }
  readonly machine: { readonly platform: string; readonly cpu: string; readonly cores: number }
  readonly threads: { readonly count: number; readonly why: string }
  /** The memory limit of a command without `--memory`. */
  readonly memory: { readonly bytes: number; readonly why: string }
  readonly devices: readonly Device[]
  /** Whether `train --device webgpu` has a GPU, and otherwise why not, in one sentence. */
  readonly training: { readonly gpu: boolean; readonly why?: string }
  readonly cache: { readonly folder: string; readonly bytes?: number; readonly problem?: string }
  readonly missing: readonly Missing[]
}

interface Package {
  readonly version: string
  readonly engines: { readonly node: string }
}

export async function examine(): Promise<Examination> {
  const missing: Missing[] = []
  const attempt = async <T>(work: () => T | Promise<T>, how: string): Promise<T | undefined> => {
    try {
      return await work()
    } catch (error) {
      missing.push({ what: sentence(error), how })
      return undefined
    }
  }
  const { version, engines } = createRequire(import.meta.url)('../../package.json') as Package
  if (!isAtLeast(process.versions.node, engines.node))
    missing.push({
      what: `Node ${process.versions.node} is too old.`,
      how: `Install Node ${engines.node.replace('>=', '')} or newer.`,
    })
  const llama = await attempt(llamaOf, '')
  const onnxruntime = await attempt(
    onnxruntimeOf,
    'Repeat `npm install quench`, with ONNXRUNTIME_NODE_INSTALL=skip if a download fails.',
  )
  const threads = await attempt(threadsOf, '')
  const cores = cpus()
  return {
    versions: {
      quench: version,
      node: process.versions.node,
      ...(llama && { llama: llama.version }),
      ...(onnxruntime !== undefined && { onnxruntime }),
    },
    machine: {
      platform: `${process.platform}-${process.arch}`,
      cpu: cores[0]?.model.trim() || 'unknown',
      cores: cores.length,
    },
    threads: threads ?? { count: 0, why: 'unknown' },
    memory: memoryOf(),
    devices: llama?.devices ?? [],
    training: await gpuOf(),
    cache: await cacheOf(),
    missing,
  }
}

async function llamaOf(): Promise<{ version: string; devices: Device[] }> {
  const { devices, llamaVersion, PACKAGE_VERSION } = await import('../llama/index.js')
  const found = devices()
  return { version: `packages ${PACKAGE_VERSION}, llama.cpp ${llamaVersion()}`, devices: found }
}

/** Version of the package, if its native library loads. */
async function onnxruntimeOf(): Promise<string> {
  const { onnxruntime, onnxruntimeVersion } = await import('../backends/onnxruntime.js')
  onnxruntime()
  return onnxruntimeVersion()
}

async function gpuOf(): Promise<Examination['training']> {
  const { gpuProblem } = await import('../backends/webgpu/probe.js')
  const why = await gpuProblem()
  return why === undefined ? { gpu: true } : { gpu: false, why: sentence(why) }
}

function threadsOf(): Examination['threads'] {
  const { count, quota } = availableThreads()
  if (process.env.QUENCH_THREADS) return { count, why: 'as QUENCH_THREADS says' }
  if (quota !== undefined) return { count, why: `the CPU limit of the container is ${quota}` }
  return { count, why: 'processors that this process may run on' }
}

function memoryOf(): Examination['memory'] {
  const { budget, machine, limit } = memoryLimits()
  const of = limit === undefined ? machine : limit
  const whose = limit === undefined ? 'that the machine has' : 'that the container may take'
  return { bytes: budget, why: `three quarters of the ${humanBytes(of)} ${whose}, in coarse steps` }
}

async function cacheOf(): Promise<Examination['cache']> {
  const folder = cacheFolder()
  try {
    return { folder, bytes: listCache().bytes }
  } catch (error) {
    return { folder, problem: sentence(error) }
  }
}

const sentence = (error: unknown): string => {
  const text = error instanceof Error ? error.message : String(error)
  return /[.!?]$/.test(text) ? text : `${text}.`
}

/** @param range `>=20.19` */
function isAtLeast(version: string, range: string): boolean {
  const numbers = (text: string) =>
    text
      .replace(/^[^\d]*/, '')
      .split('.')
      .map(Number)
  const [own, least] = [numbers(version), numbers(range)]
  for (const [i, wanted] of least.entries()) if (own[i] !== wanted) return (own[i] ?? 0) > wanted
  return true
}
