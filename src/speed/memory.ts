/** What a running model takes of the machine's memory. */
import { readFile } from 'node:fs/promises'
import type { NativeBuffer } from '../llama/index.js'

/** Bytes. The first four are llama.cpp's own account of its buffers, on all devices together. */
export interface MemoryUse {
  /** Weights, copies in another layout included (llama.cpp keeps some beside the mapped file). */
  readonly weightsBytes: number
  /** Cache of keys and values, for a context of `contextTokens`. */
  readonly kvBytes: number
  readonly contextTokens: number
  readonly computeBytes: number
  readonly outputBytes: number
  /** By how much the process had grown when the model had run: pages that were touched, mapped ones too. */
  readonly residentBytes: number
}

export function memoryUse(
  buffers: readonly NativeBuffer[],
  contextTokens: number,
  residentBytes: number,
): MemoryUse {
  const sum = (use: NativeBuffer['use']) =>
    buffers.reduce((total, buffer) => total + (buffer.use === use ? buffer.bytes : 0), 0)
  return {
    weightsBytes: sum('weights'),
    kvBytes: sum('kv'),
    contextTokens,
    computeBytes: sum('compute'),
    outputBytes: sum('output'),
    residentBytes,
  }
}

/** Resident memory of this process without JavaScript's heap, which comes and goes by itself. */
export async function residentBytes(): Promise<number> {
  const status = process.platform === 'linux' ? await readFile('/proc/self/status', 'utf8') : ''
  const kilobytes = /^VmRSS:\s*(\d+) kB$/m.exec(status)?.[1]
  const { rss, heapTotal } = process.memoryUsage()
  return (kilobytes === undefined ? rss : Number(kilobytes) * 1024) - heapTotal
}
