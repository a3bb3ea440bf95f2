/** Finds tool calls in generated text, in a separate process; see sandbox.ts. */
import { serve } from '../../sandbox.js'
import { Tools } from './tool-calls.js'
import type { CallRequest } from './tool-checker.js'

serve(async () => {
  return ({ tools, text }: CallRequest) => new Tools(tools).parse(text)
})
