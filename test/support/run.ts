/** Compiles a graph, runs it once and frees it. */

import { cpu } from '../../src/backends/cpu/cpu.js'
import type { Tensor, TypedArray } from '../../src/graph/index.js'
import { devices, hosts } from './device.js'

export async function run(
  inputs: Record<string, Tensor>,
  outputs: Record<string, Tensor>,
  values: Readonly<Record<string, TypedArray>>,
): Promise<Record<string, Float32Array>> {
  const program = await cpu.compile({ inputs, outputs }, true)
  try {
    return hosts(await program.run(devices(values)))
  } finally {
    await program.dispose()
  }
}
