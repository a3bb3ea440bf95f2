/** The turns of conversations. */

/** A turn; what else it has (e.g. `tool_calls`) is for the template. */
export interface Message {
  readonly role: string
  readonly content?: unknown
  readonly [key: string]: unknown
}
