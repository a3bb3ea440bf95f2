/**
 * The JSON schema of a tool's arguments, of any draft from 4 to 2020-12. It is walked, not compiled into code, since it is
 * untrusted. An invalid schema (e.g. `"type": "dict"`, or a reference to an external schema) forbids nothing.
 */
import { dereference, format, type Schema, type SchemaDraft, validate } from '@cfworker/json-schema'

// Formats are annotations, not assertions, as in the newer drafts.
for (const name of Object.keys(format)) delete format[name]

export class ToolSchema {
  private readonly schema: Schema | undefined
  private readonly lookup: ReturnType<typeof dereference> = {}
  private readonly draft: SchemaDraft = '2019-09'

  constructor(parameters: unknown) {
    if (!isSchema(parameters)) return
    try {
      this.lookup = dereference(parameters)
    } catch {
      return // e.g. nested too deeply
    }
    this.schema = parameters
    this.draft = draftOf(parameters.$schema)
  }

  allows(args: unknown): boolean {
    if (this.schema === undefined) return true
    try {
      return validate(args, this.schema, this.draft, this.lookup).valid
    } catch {
      return true // e.g. a schema that only refers to itself
    }
  }
}

const drafts: readonly (readonly [RegExp, SchemaDraft])[] = [
  [/2020-12/, '2020-12'],
  [/2019-09/, '2019-09'],
  [/draft-0[67]/, '7'],
  [/draft-04/, '4'],
]

/** A schema without a draft mostly uses what all drafts share; 2019-09 allows lists of `items` and siblings of `$ref`. */
const draftOf = (uri: unknown): SchemaDraft =>
  drafts.find(([name]) => typeof uri === 'string' && name.test(uri))?.[1] ?? '2019-09'

function isSchema(value: unknown): value is Schema {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  try {
    return validate(value, metaSchema, '2019-09', metaLookup).valid
  } catch {
    return false
  }
}

/** Gives several keywords the same schema. */
const each = (keywords: string, schema: Schema): Record<string, Schema> =>
  Object.fromEntries(keywords.split(' ').map((keyword) => [keyword, schema]))

const anySchema: Schema = { $ref: '#' }
const listOf = (items: Schema): Schema => ({ type: 'array', items })
const mapOf = (additionalProperties: Schema): Schema => ({ type: 'object', additionalProperties })
const string: Schema = { type: 'string' }
const typeName: Schema = { enum: ['null', 'boolean', 'object', 'array', 'number', 'string', 'integer'] }

/** Schema of the keywords that are checked. */
const metaSchema: Schema = {
  type: ['object', 'boolean'],
  properties: {
    ...each('$id $ref $anchor pattern format', string),
    ...each('$defs definitions properties patternProperties dependentSchemas', mapOf(anySchema)),
    ...each('allOf anyOf oneOf prefixItems', listOf(anySchema)),
    ...each('not if then else contains propertyNames additionalProperties', anySchema),
    ...each('additionalItems unevaluatedItems unevaluatedProperties', anySchema),
    ...each('minimum maximum multipleOf minLength maxLength minItems maxItems', { type: 'number' }),
    ...each('minProperties maxProperties minContains maxContains', { type: 'number' }),
    ...each('exclusiveMinimum exclusiveMaximum', { type: ['number', 'boolean'] }),
    ...each('items', { anyOf: [listOf(anySchema), anySchema] }),
    ...each('type', { anyOf: [typeName, listOf(typeName)] }),
    ...each('enum', { type: 'array' }),
    ...each('required', listOf(string)),
    ...each('dependentRequired', mapOf(listOf(string))),
    ...each('dependencies', mapOf({ anyOf: [listOf(string), anySchema] })),
  },
}
const metaLookup = dereference(metaSchema)
