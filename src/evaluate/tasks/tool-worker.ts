/** Looks for calls of tools in what models have written, in a process of its own; see sandbox.ts. */
import { serve } from '../../sandbox.js'
import { Tools } from './tool-calls.js'
import type { CallRequest } from './tool-checker.js'

serve(async () => {
  return ({ tools, text }: CallRequest) => new Tools(tools).parse(text)
})
