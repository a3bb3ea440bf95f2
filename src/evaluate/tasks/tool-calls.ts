/**
 * Finds tool calls in generated text. Models mark calls in different ways; these are read:
 * - JSON objects or lists of them with a name and arguments, anywhere in the text (Hermes and Qwen between `<tool_call>` and
 *   `</tool_call>`, Llama 3 bare or after `<|python_tag|>`, Mistral after `[TOOL_CALLS]`), and
 * - `<function=name>` with JSON arguments or `<parameter=name>value</parameter>` in it, up to `</function>`.
 *
 * A call parses if its name is that of a tool and its arguments are valid by the tool's JSON schema.
 */
import { isDeeper } from '../../data/text-file.js'
import { jsonValues } from './json-values.js'
import { ToolSchema } from './tool-schema.js'

export interface ToolCall {
  readonly name: string
  readonly arguments: Readonly<Record<string, unknown>>
}

/** Limit of nested objects and lists in the arguments of a call. */
const mostLevels = 100
const mostName = 256

/** The tools of a prompt; checks calls against their schemas. */
export class Tools {
  private readonly schemas = new Map<string, ToolSchema>()

  /** @param tools `{"type": "function", "function": {"name", "parameters"}}`, or the inner object alone */
  constructor(tools: readonly unknown[]) {
    for (const tool of tools) {
      const { name, parameters } = functionOf(tool)
      if (name !== undefined) this.schemas.set(name, new ToolSchema(parameters))
    }
  }

  /** The calls in a text, or undefined if there are none or one is invalid. */
  parse(text: string): ToolCall[] | undefined {
    const calls = findCalls(text)
    return calls.length > 0 && calls.every((call) => this.isRight(call)) ? calls : undefined
  }

  private isRight({ name, arguments: args }: ToolCall): boolean {
    return !isDeeper(args, mostLevels) && this.schemas.get(name)?.allows(args) === true
  }
}

function functionOf(tool: unknown): { name?: string; parameters?: unknown } {
  if (typeof tool !== 'object' || tool === null) return {}
  const inner = 'function' in tool ? tool.function : tool
  if (typeof inner !== 'object' || inner === null) return {}
  const { name, parameters } = inner as Record<string, unknown>
  return { ...(typeof name === 'string' && { name }), parameters }
}

/** All calls in a text, in order. */
function findCalls(text: string): ToolCall[] {
  const functions = elements(text, 'function')
  if (functions.length > 0)
    return functions.map(([name, body]) => ({ name, arguments: taggedArguments(body) }))
  return jsonValues(text).flatMap((value) => (Array.isArray(value) ? value : [value]).flatMap(asCall))
}

function taggedArguments(body: string): Record<string, unknown> {
  const parameters = elements(body, 'parameter')
  if (parameters.length > 0)
    return Object.fromEntries(
      parameters.map(([name, value]) => [name, jsonOr(value.replace(/^\n/, '').replace(/\n$/, ''))]),
    )
  const whole = jsonOr(body.trim())
  return typeof whole === 'object' && whole !== null ? (whole as Record<string, unknown>) : {}
}

/** Names and contents of `<tag=name>content</tag>`. */
function elements(text: string, tag: string): [string, string][] {
  const found: [string, string][] = []
  const opening = new RegExp(`<${tag}=([^>\\s]{1,${mostName}})>`, 'g')
  const closing = `</${tag}>`
  for (let match = opening.exec(text); match; match = opening.exec(text)) {
    const end = text.indexOf(closing, opening.lastIndex)
    if (end < 0) break
    found.push([match[1], text.slice(opening.lastIndex, end)])
    opening.lastIndex = end + closing.length
  }
  return found
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

/** Whether two lists of calls are equal, up to the order of arguments. */
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
