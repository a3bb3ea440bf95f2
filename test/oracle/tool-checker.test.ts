/** Schemas of strangers, checked in a process of its own that may take no longer than seconds. */
import { expect, test } from 'vitest'
import { ToolChecker } from '../../src/evaluate/tasks/tool-checker.js'

test('a pattern without end costs seconds, and the next answer is checked', async () => {
  using checker = new ToolChecker()
  const tools = [{ name: 'f', parameters: { properties: { a: { type: 'string', pattern: '^(a+)+$' } } } }]
  const text = (a: string): string => `{"name":"f","arguments":{"a":"${a}"}}`
  const parse = (a: string) => checker.parse('prompts.jsonl:1', { tools, text: text(a) })
  expect(await parse('aaa')).toEqual([{ name: 'f', arguments: { a: 'aaa' } }])
  expect(await parse(`${'a'.repeat(40)}b`)).toBeUndefined()
  expect(await parse('b')).toBeUndefined()
  expect(await parse('aaa')).toHaveLength(1)
  expect([...checker.warnings]).toEqual([
    'calls after prompts.jsonl:1 cannot be checked by the schemas of its tools, so they count as wrong: it takes more than 5 s',
  ])
})
