/** Calls of tools in what models write. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { sameCalls, Tools } from '../../src/evaluate/tool-calls.js'

const tools = new Tools([
  {
    type: 'function',
    function: {
      name: 'weather',
      parameters: {
        type: 'object',
        properties: { city: { type: 'string' }, days: { type: 'integer' } },
        required: ['city'],
      },
    },
  },
  { name: 'stop' },
])
const paris = [{ name: 'weather', arguments: { city: 'Paris', days: 2 } }]

describe('calls that are right', () => {
  test.each([
    ['<tool_call>\n{"name": "weather", "arguments": {"city": "Paris", "days": 2}}\n</tool_call>'],
    ['<|python_tag|>{"name": "weather", "parameters": {"days": 2, "city": "Paris"}}'],
    ['I look. [TOOL_CALLS][{"name": "weather", "arguments": {"city": "Paris", "days": 2}}]'],
    ['```json\n{"name":"weather","arguments":"{\\"city\\":\\"Paris\\",\\"days\\":2}"}\n```'],
    ['<function=weather>{"city": "Paris", "days": 2}</function>'],
    [
      '<function=weather>\n<parameter=city>\nParis\n</parameter>\n<parameter=days>\n2\n</parameter>\n</function>',
    ],
    ['{"thought": {"x": "a } brace"}} {"name": "weather", "arguments": {"city": "Paris", "days": 2}}'],
  ])('%s', (text) => {
    const calls = tools.parse(text)
    expect(calls && sameCalls(calls, paris)).toBe(true)
  })

  test('several, and one without arguments', () => {
    const text = '{"name":"stop"}{"name":"weather","arguments":{"city":"Rome"}}'
    expect(tools.parse(text)).toEqual([
      { name: 'stop', arguments: {} },
      { name: 'weather', arguments: { city: 'Rome' } },
    ])
  })
})

test.each([
  ['no call at all'],
  ['{"name": "weather", "arguments": {"city": "Paris"'],
  ['{"name": "weather", "arguments": {"days": 2}}'],
  ['{"name": "weather", "arguments": {"city": 5}}'],
  ['{"name": "sing", "arguments": {}}'],
  ['{"name": "stop"} {"name": "sing"}'],
])('not right: %s', (text) => {
  expect(tools.parse(text)).toBeUndefined()
})

test('the same calls whatever the order of arguments, not of calls', () => {
  const a = { name: 'f', arguments: { x: 1, y: { p: 1, q: [1, 2] } } }
  const b = { name: 'f', arguments: { y: { q: [1, 2], p: 1 }, x: 1 } }
  const c = { name: 'f', arguments: { x: 1, y: { p: 1, q: [2, 1] } } }
  expect(sameCalls([a], [b])).toBe(true)
  expect(sameCalls([a], [c])).toBe(false)
  expect(sameCalls([a, c], [c, a])).toBe(false)
})

test('any text and any schema: no error', () => {
  fc.assert(
    fc.property(fc.string(), fc.anything(), (text, schema) => {
      const any = new Tools([{ name: 'f', parameters: schema }, schema])
      any.parse(text)
      any.parse(`{"name":"f","arguments":{"x":${JSON.stringify(text)}}}`)
    }),
    { numRuns: 40 },
  )
})
