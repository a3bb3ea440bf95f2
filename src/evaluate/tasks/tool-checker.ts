/**
 * Finds tool calls that are valid by their schemas, in a separate process: a pattern such as `^(a+)+$` can take forever to
 * match.
 */
import { Sandbox } from '../../sandbox.js'
import type { ToolCall } from './tool-calls.js'

export interface CallRequest {
  readonly tools: readonly unknown[]
  /** Generated text. */
  readonly text: string
}

const timeout = 5_000

export class ToolChecker {
  private readonly sandbox = new Sandbox<CallRequest, ToolCall[] | undefined>(
    './tool-worker',
    import.meta.url,
    undefined,
    timeout,
  )
  /** Warnings about answers that could not be checked. */
  readonly warnings = new Set<string>()

  /** The calls in a text, or undefined if there are none or one is invalid. @param name of the prompt, for a warning */
  async parse(name: string, request: CallRequest): Promise<ToolCall[] | undefined> {
    const outcome = await this.sandbox.ask(request)
    if ('result' in outcome) return outcome.result
    this.warnings.add(
      `calls after ${name} cannot be checked by the schemas of its tools, so they count as wrong: ${outcome.problem}`,
    )
    return undefined
  }

  [Symbol.dispose](): void {
    this.sandbox.close()
  }
}
