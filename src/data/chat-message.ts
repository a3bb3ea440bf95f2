/** The messages of conversations. */

/** A message; other fields (e.g. `tool_calls`) are passed to the template. */
export interface Message {
  readonly role: string
  readonly content?: unknown
  readonly [key: string]: unknown
}
