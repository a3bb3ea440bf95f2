/** The devices that training can compute on. */

import type { Backend } from './backend.js'

const names = ['cpu', 'webgpu'] as const
export type DeviceName = (typeof names)[number]

export const deviceNames: readonly DeviceName[] = names

export const isDevice = (value: unknown): value is DeviceName => names.some((name) => name === value)

/**
 * The backend of a device, ready for programs.
 * @param memory limit of its buffers in bytes, where its memory is not the machine's
 * @throws QuenchError of one sentence if there is no such device, or a library is missing
 */
export async function openDevice(name: DeviceName, memory?: number): Promise<Backend> {
  const backend =
    name === 'cpu'
      ? (await import('./cpu/cpu.js')).cpu
      : new (await import('./webgpu/webgpu.js')).WebGpu(memory)
  await backend.load?.()
  return backend
}
