/** Memory use of a running model. */
import { readFile } from 'node:fs/promises'
import type { NativeBuffer } from '../llama/index.js'

/** Bytes. The first four are llama.cpp's own account of its buffers, over all devices. */
export interface MemoryUse {
  /** Weights, including repacked copies (llama.cpp keeps some in addition to the mapped file). */
  readonly weightsBytes: number
  /** KV cache for a context of `contextTokens`. */
  readonly kvBytes: number
  readonly contextTokens: number
  readonly computeBytes: number
  readonly outputBytes: number
  /** Growth of the process after the model has run: touched pages, including mapped ones. */
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

/** Resident memory of this process without the JavaScript heap, which varies independently. */
export async function residentBytes(): Promise<number> {
  const status = process.platform === 'linux' ? await readFile('/proc/self/status', 'utf8') : ''
  const kilobytes = /^VmRSS:\s*(\d+) kB$/m.exec(status)?.[1]
  const { rss, heapTotal } = process.memoryUsage()
  return (kilobytes === undefined ? rss : Number(kilobytes) * 1024) - heapTotal
}
