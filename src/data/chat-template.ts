/** A model's own chat template: conversations as the text that the model was trained on. */
import { runOnThread } from '../workers.js'
import type { RenderJob } from './chat-worker.js'

/** A turn; what else it has (e.g. `tool_calls`) is for the template. */
export interface Message {
  readonly role: string
  readonly content?: unknown
  readonly [key: string]: unknown
}

/** A text to be made. */
export interface ChatPrompt {
  /** What to call it in an error. */
  readonly name: string
  readonly messages: readonly Message[]
  /** JSON schemas of functions, as the template wants them. */
  readonly tools?: readonly unknown[]
  /** Whether the text ends with the beginning of an answer. */
  readonly open: boolean
}

export interface Rendered {
  readonly texts: readonly string[]
  /** Text of BOS, which a template may or may not write itself; empty where there is none. */
  readonly bos: string
}

const timeout = 60_000

/** @throws FileError for a model without a template, or a template that fails, loops or takes too much memory */
export function renderChat(path: string, prompts: readonly ChatPrompt[]): Promise<Rendered> {
  const job: RenderJob = { path, prompts }
  return runOnThread('./chat-worker', import.meta.url, job, { path: `${path} (its chat template)`, timeout })
}
