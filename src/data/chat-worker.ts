/**
 * Renders chat templates on a thread of its own, since a template comes with a model file from a stranger: it may loop for
 * long or take all memory, and the caller ends the thread then.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { Template } from '@huggingface/jinja'

/** What is to be rendered: variables of the template, for each text. */
export interface RenderJob {
  readonly template: string
  readonly variables: readonly Readonly<Record<string, unknown>>[]
}

/** The texts, or what went wrong at which of them. */
export type Rendered =
  | { readonly texts: readonly string[] }
  | { readonly error: string; readonly index: number }

const { template, variables } = workerData as RenderJob
parentPort?.postMessage(render())

function render(): Rendered {
  const texts: string[] = []
  try {
    const parsed = new Template(template)
    for (const each of variables) texts.push(parsed.render({ ...each }))
    return { texts }
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error), index: texts.length }
  }
}
