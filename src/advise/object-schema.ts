/** JSON Schemas of objects. */
import type { Schema } from '@cfworker/json-schema'

/** An object that may have further fields, which a reader ignores. */
export const openObject = (
  required: Record<string, Schema>,
  optional: Record<string, Schema> = {},
): Schema & { type: 'object' } => ({
  type: 'object',
  properties: { ...required, ...optional },
  required: Object.keys(required),
})

/** An object with these fields and no others. */
export const closedObject = (
  required: Record<string, Schema>,
  optional: Record<string, Schema> = {},
): Schema & { type: 'object' } => ({ ...openObject(required, optional), additionalProperties: false })
