/**
 * Calls of tools in what a model has written. Models mark them in different ways; read are
 * - JSON objects or lists of them with a name and arguments, anywhere in the text (Hermes and Qwen between `<tool_call>` and
 *   `</tool_call>`, Llama 3 bare or after `<|python_tag|>`, Mistral after `[TOOL_CALLS]`), and
 * - `<function=name>` with JSON arguments or `<parameter=name>value</parameter>` in it, up to `</function>`.
 *
 * A call parses if its name is that of a tool and its arguments are valid by the tool's JSON schema.
 */
import { Ajv, type ValidateFunction } from 'ajv'

export interface ToolCall {
  readonly name: string
  readonly arguments: Readonly<Record<string, unknown>>
}

/** The tools of a prompt, ready to check calls. */
export class Tools {
  private readonly validators = new Map<string, ValidateFunction | undefined>()

  /** @param tools `{"type": "function", "function": {"name", "parameters"}}`, or the inner object alone */
  constructor(tools: readonly unknown[]) {
    const ajv = new Ajv({ strict: false, logger: false, validateFormats: false })
    for (const tool of tools) {
      const { name, parameters } = functionOf(tool)
      if (name === undefined) continue
      // A schema that is none cannot forbid anything.
      const usable =
        typeof parameters === 'object' && parameters !== null && ajv.validateSchema(parameters) === true
      this.validators.set(name, usable ? compile(ajv, parameters) : undefined)
    }
  }

  /** The calls in a text, if there are any and all of them are right. */
  parse(text: string): ToolCall[] | undefined {
    const calls = findCalls(text)
    return calls.length > 0 && calls.every((call) => this.isRight(call)) ? calls : undefined
  }

  private isRight(call: ToolCall): boolean {
    if (!this.validators.has(call.name)) return false
    return this.validators.get(call.name)?.(call.arguments) ?? true
  }
}

function compile(ajv: Ajv, schema: object): ValidateFunction | undefined {
  try {
    return ajv.compile(schema)
  } catch {
    return undefined // e.g. a reference to a schema that is elsewhere
  }
}

function functionOf(tool: unknown): { name?: string; parameters?: unknown } {
  if (typeof tool !== 'object' || tool === null) return {}
  const inner = 'function' in tool ? tool.function : tool
  if (typeof inner !== 'object' || inner === null) return {}
  const { name, parameters } = inner as Record<string, unknown>
  return { ...(typeof name === 'string' && { name }), parameters }
}

/** All calls of a text, in order. */
function findCalls(text: string): ToolCall[] {
  const tagged = [...text.matchAll(/<function=([^>\s]+)>([\s\S]*?)<\/function>/g)]
  if (tagged.length > 0) return tagged.map(([, name, body]) => ({ name, arguments: taggedArguments(body) }))
  return jsonValues(text).flatMap((value) => (Array.isArray(value) ? value : [value]).flatMap(asCall))
}

function taggedArguments(body: string): Record<string, unknown> {
  const parameters = [...body.matchAll(/<parameter=([^>\s]+)>\n?([\s\S]*?)\n?<\/parameter>/g)]
  if (parameters.length > 0)
    return Object.fromEntries(parameters.map(([, name, value]) => [name, jsonOr(value)]))
  const whole = jsonOr(body.trim())
  return typeof whole === 'object' && whole !== null ? (whole as Record<string, unknown>) : {}
}

function jsonOr(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

function asCall(value: unknown): ToolCall[] {
  if (typeof value !== 'object' || value === null) return []
  const { name, arguments: own, parameters } = value as Record<string, unknown>
  const given = own ?? parameters ?? {}
  const args = typeof given === 'string' ? jsonOr(given) : given
  if (typeof name !== 'string' || typeof args !== 'object' || args === null) return []
  return [{ name, arguments: args as Record<string, unknown> }]
}

/** The outermost JSON objects and lists in a text. */
function jsonValues(text: string): unknown[] {
  const values: unknown[] = []
  for (let at = 0; at < text.length; at++) {
    if (text[at] !== '{' && text[at] !== '[') continue
    const end = endOfJson(text, at)
    if (end === undefined) continue
    try {
      values.push(JSON.parse(text.slice(at, end)))
      at = end - 1
    } catch {
      // Not JSON: what is inside may be.
    }
  }
  return values
}

/** Where the brackets that open at `start` are closed; quotes are heeded. */
function endOfJson(text: string, start: number): number | undefined {
  let depth = 0
  let quoted = false
  for (let i = start; i < text.length; i++) {
    const c = text[i]
    if (quoted) {
      if (c === '\\') i++
      else if (c === '"') quoted = false
    } else if (c === '"') quoted = true
    else if (c === '{' || c === '[') depth++
    else if ((c === '}' || c === ']') && --depth === 0) return i + 1
  }
  return undefined
}

/** Whether two lists of calls ask for the same, whatever the order of arguments. */
export function sameCalls(a: readonly ToolCall[], b: readonly ToolCall[]): boolean {
  return canonical(a) === canonical(b)
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([x], [y]) => (x < y ? -1 : 1)))
      : inner,
  )
}
