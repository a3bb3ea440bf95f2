/** Calls of tools in what models write. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { jsonValues } from '../../src/evaluate/tasks/json-values.js'
import { sameCalls, Tools } from '../../src/evaluate/tasks/tool-calls.js'

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

const allows = (parameters: unknown, args: unknown): boolean =>
  new Tools([{ name: 'f', parameters }]).parse(`{"name":"f","arguments":${JSON.stringify(args)}}`) !==
  undefined

describe('schemas', () => {
  const drafts = [
    ...['2020-12', '2019-09'].map((draft) => `https://json-schema.org/draft/${draft}/schema`),
    ...['07', '06', '04'].map((draft) => `http://json-schema.org/draft-${draft}/schema#`),
  ]
  test.each([...drafts, undefined, 7])('of every draft hold: %s', ($schema) => {
    const schema = {
      ...($schema !== undefined && { $schema }),
      type: 'object',
      properties: {
        city: { type: 'string', format: 'date' },
        days: { type: 'integer', minimum: 1 },
        place: { $ref: '#/definitions/place' },
      },
      definitions: { place: { type: 'object', required: ['x'] } },
      required: ['city'],
      additionalProperties: false,
    }
    expect(allows(schema, { city: 'Paris', days: 1, place: { x: 1 } })).toBe(true)
    const wrong = [{}, { city: 1 }, { city: 'a', days: 0 }, { city: 'a', other: 1 }, { city: 'a', place: {} }]
    for (const args of wrong) expect(allows(schema, args)).toBe(false)
  })

  test('with $defs, and with a reference to the whole', () => {
    const tree = { type: 'object', properties: { left: { $ref: '#' }, name: { $ref: '#/$defs/name' } } }
    const schema = { ...tree, $defs: { name: { type: 'string' } } }
    expect(allows(schema, { left: { left: { name: 'a' } } })).toBe(true)
    expect(allows(schema, { left: { left: { name: 1 } } })).toBe(false)
  })

  const deep = Array.from({ length: 5000 }).reduce<object>((inner) => ({ properties: { a: inner } }), {})
  test.each<[string, unknown]>([
    ['a reference to itself alone', { $ref: '#' }],
    ['a reference to elsewhere', { $ref: 'https://example.com/schema' }],
    ['types of another language', { type: 'dict', properties: { a: { type: 'float' } } }],
    ['keywords of the wrong kind', { required: true, properties: 5 }],
    ['a pattern that is none', { properties: { a: { pattern: '(' } } }],
    ['5,000 levels', deep],
    ['no object', 'object'],
  ])('that are none forbid nothing: %s', (_, schema) => {
    expect(allows(schema, { a: 'x' })).toBe(true)
  })

  test('of 300,000 values', () => {
    const schema = { properties: { a: { enum: Array.from({ length: 300_000 }, (_, i) => `v${i}`) } } }
    expect(allows(schema, { a: 'v299999' })).toBe(true)
    expect(allows(schema, { a: 'v300000' })).toBe(false)
  })

  test('names that every object has are not there by themselves', () => {
    for (const name of ['toString', 'constructor', '__proto__'])
      expect(allows({ required: [name] }, {})).toBe(false)
    expect(new Tools([]).parse('{"name":"toString"}')).toBeUndefined()
    new Tools([{ name: 'f' }]).parse('{"name":"f","arguments":{"__proto__":{"polluted":1}}}')
    expect({}).not.toHaveProperty('polluted')
  })

  test('arguments of 20,000 levels are none', () => {
    const args = `${'{"a":'.repeat(20_000)}1${'}'.repeat(20_000)}`
    expect(new Tools([{ name: 'f' }]).parse(`{"name":"f","arguments":${args}}`)).toBeUndefined()
  })
})

describe('JSON in a text', () => {
  test.each<[string, unknown[]]>([
    ['a {} b [1, "}"] c', [{}, [1, '}']]],
    ['{"a": [{"b": null}, -1.5e3, true]} {', [{ a: [{ b: null }, -1500, true] }]],
    ['{"a": {"b": 1}, oops} [2]', [{ b: 1 }, [2]]],
    ['{maybe "this} [{"a": "\\" }"}]', [[{ a: '" }' }]]],
    ['["open {"a": 1}', [{ a: 1 }]],
    ['{\'a\': 1} {"a":1,}', []],
    ['[[[ {"a": 1} ', [{ a: 1 }]],
    ['[1.2.3] ["\\x"] [01]', []],
    ['[{"a": 1}] ]} [[]]', [[{ a: 1 }], [[]]]],
  ])('%s', (text, values) => {
    expect(jsonValues(text)).toEqual(values)
  })

  test('is what was put there', () => {
    const pieces = fc.array(fc.tuple(fc.string({ maxLength: 8 }), fc.json()), { maxLength: 5 })
    fc.assert(
      fc.property(pieces, (list) => {
        const texts = list.map(([between, json]) => [between.replaceAll(/[[\]{}"]/g, ''), json] as const)
        const expected = texts
          .map(([, json]) => JSON.parse(json) as unknown)
          .filter((value) => typeof value === 'object' && value !== null)
        const strings = texts.some(([, json]) => json.startsWith('"') && /[[{]/.test(json))
        fc.pre(!strings)
        expect(jsonValues(texts.flat().join(' '))).toEqual(expected)
      }),
    )
  })

  test.each(['[', '["', '{"a":', '{"a":[1,{},', '<function=f>', '<function=', '<function=f><parameter=a>'])(
    'in a time that grows with the text: %s',
    (piece) => {
      const text = piece.repeat(600_000 / piece.length)
      const begin = performance.now()
      const calls = new Tools([{ name: 'f' }]).parse(text)
      expect(calls).toBeUndefined()
      // A second or less where nothing else runs; growing with the square it would be a quarter of an hour.
      expect(performance.now() - begin).toBeLessThan(60_000)
    },
  )
})
