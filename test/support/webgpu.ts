/**
 * The GPU of tests: SwiftShader, which Debian's package `chromium` and Google Chrome bring, where the environment names no other. The system needs a Vulkan loader
 * (`libvulkan1`). `QUENCH_TEST_GPU=yes` makes tests fail without one, as in CI; else those that need one are skipped, and those of the
 * sentence that tells what is missing run.
 */
import { existsSync } from 'node:fs'
import { WebGpu } from '../../src/backends/webgpu/webgpu.js'

const swiftShader = ['/usr/lib/chromium', '/opt/google/chrome']
  .map((folder) => `${folder}/vk_swiftshader_icd.json`)
  .find((path) => existsSync(path))
if (process.env.VK_ICD_FILENAMES === undefined && swiftShader !== undefined)
  process.env.VK_ICD_FILENAMES = swiftShader

/** The device of this process. */
export const webgpu = new WebGpu()

/** Why there is none, if so. */
export const missing: string | undefined = await webgpu.load().then(
  () => undefined,
  (error: Error) => error.message,
)
if (missing !== undefined && process.env.QUENCH_TEST_GPU === 'yes') throw new Error(missing)
