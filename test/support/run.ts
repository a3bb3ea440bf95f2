/** Compiles a graph, runs it once and frees it. */

import { Program, type Values } from '../../src/backends/program.js'
import type { Tensor } from '../../src/graph/index.js'

export async function run(
  inputs: Record<string, Tensor>,
  outputs: Record<string, Tensor>,
  values: Values,
): Promise<Record<string, Float32Array>> {
  const program = await Program.compile({ inputs, outputs })
  try {
    return await program.run(values)
  } finally {
    await program.dispose()
  }
}
