/** A process that opens the GPU and sends why it cannot, or undefined: drivers print and may end their process. */
import { WebGpu } from './webgpu.js'

const problem = await new WebGpu().load().then(
  () => undefined,
  (error: Error) => error.message,
)
process.send?.({ problem }, () => process.exit())
