/**
 * The GPU of tests: SwiftShader (swiftshader.ts), where the environment names no other. `QUENCH_TEST_GPU=yes` makes tests fail without one, as in CI; else those that need one are skipped, and those of the
 * sentence that tells what is missing run.
 */
import { WebGpu } from '../../src/backends/webgpu/webgpu.js'
import { useSwiftShader } from './swiftshader.js'

useSwiftShader()

/** The device of this process. */
export const webgpu = new WebGpu()

/** Why there is none, if so. */
export const missing: string | undefined = await webgpu.load().then(
  () => undefined,
  (error: Error) => error.message,
)
if (missing !== undefined && process.env.QUENCH_TEST_GPU === 'yes') throw new Error(missing)
