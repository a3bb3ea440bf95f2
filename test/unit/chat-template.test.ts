/** Chat templates within bounds, on what people hand to them, and where the assistant's words are in what they make. */

import { afterEach, describe, expect, test, vi } from 'vitest'
import { BoundedTemplate } from '../../src/data/bounded-template.js'
import { renderAnswers } from '../../src/data/chat-answers.js'
import type { Message } from '../../src/data/chat-message.js'
import { renderingVariant } from '../../src/data/chat-variants.js'
import { QuenchError } from '../../src/errors.js'

const end = '{% if add_generation_prompt %}assistant: {% endif %}'
const loop = `{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}${end}`
const withContent = (content: string): string => loop.replace('{{ m.content }}', content)
const render = (source: string, variables = {}): string => new BoundedTemplate(source).render(variables)

describe('bounds', () => {
  const grows = (step: string, times: number): string =>
    `{% set n = namespace(v=${step.includes('~') ? '"x"' : '[1]'}) %}{% for i in range(${times}) %}{% set n.v = ${step} %}{% endfor %}{{ n.v }}`
  test.each([
    ['a range', '{% for i in range(1000000000) %}x{% endfor %}', /a range of more than 100k numbers/],
    ['a range without end', '{{ range(1, 2, 0) | length }}', /a range of more than/],
    ['a doubled text', grows('n.v ~ n.v', 24), /a text of more than 8.00M characters/],
    ['a doubled list', grows('n.v + n.v', 64), /a list of more than 1.00M items/],
    [
      'loops in loops',
      '{% for i in range(9) %}{% for j in range(100000) %}{% endfor %}{% endfor %}',
      /than 5.00M steps/,
    ],
    ['depth', `{{ ${'('.repeat(100_000)}1${')'.repeat(100_000)} }}`, /nested too deeply/],
    ['recursion', '{% macro f(g) %}{{ g(g) }}{% endmacro %}{{ f(f) }}', /nested too deeply/],
    ['indentation', '{{ "a\nb" | indent(10000000000) }}', /Invalid string length/],
    ['a text that is no template', '{% if %}', /Unexpected token/],
  ])('%s', (_, source, problem) => {
    expect(() => render(source)).toThrow(problem)
    expect(() => render(source)).toThrow(QuenchError)
  })

  test('the reason of a template is at most some hundred characters', () => {
    const source = `{{ raise_exception("roles ${'y'.repeat(100_000)}") }}`
    expect(() => render(source)).toThrow(/^roles y{194}\.\.\.$/)
  })

  test('a long but ordinary conversation is within them', () => {
    const messages = Array.from({ length: 30_000 }, (_, i) => ({ role: 'user', content: `${i}` }))
    expect(render(loop, { messages }).length).toBeGreaterThan(300_000)
  })

  test('nothing of JavaScript is within reach', () => {
    const messages = [JSON.parse('{"role": "user", "__proto__": {"content": "own"}}')]
    const reach = 'messages[0].__proto__.content, "".constructor, messages.constructor, ({}).__proto__'
    for (const [i, path] of reach.split(', ').entries())
      expect(render(`{{ ${path} }}`, { messages })).toBe(i === 0 ? 'own' : '')
    expect(() => render('{{ "".constructor.constructor("return process")() }}')).toThrow(QuenchError)
    expect(({} as { content?: unknown }).content).toBeUndefined()
  })
})

describe('the day', () => {
  afterEach(() => vi.useRealTimers())

  test('is the same on every day, and for both ways to ask', () => {
    const source =
      '{{ strftime_now("%d %b %Y") }} {{ date_string }} {{ strftime_now("%A, %B %-d; %H:%M 100%%") }}'
    for (const day of ['2026-11-26', '2027-01-05']) {
      vi.useFakeTimers({ now: new Date(day) })
      expect(render(source)).toBe('26 Jul 2024 26 Jul 2024 Friday, July 26; 00:00 100%')
    }
  })
})

const call = { name: 'f', arguments: '{"city":"Paris"}' }
const calling: Message[] = [
  { role: 'user', content: 'Hi' },
  { role: 'assistant', content: null, tool_calls: [{ id: '1', type: 'function', function: call }] },
  { role: 'tool', tool_call_id: '1', content: '20' },
  { role: 'assistant', content: '20 degrees.' },
]

describe('what is handed over', () => {
  const rendered = (source: string, messages = calling, tools?: unknown[]): string => {
    const template = new BoundedTemplate(source)
    const text = (variant: object): string => template.render({ ...variant })
    return text(renderingVariant(text, messages, tools))
  }
  const plain = 'user: Hi\nassistant: \ntool: 20\nassistant: 20 degrees.\n'

  test.each([['m.content.strip()'], ['m.content + ""'], ['m.content | trim']])(
    'content that is null beside calls: %s',
    (content) => {
      expect(rendered(withContent(`{{ ${content} }}`))).toBe(plain)
    },
  )

  test.each([
    ['{% for k, v in m.tool_calls[0].function.arguments | items %}{{ k }}={{ v }}{% endfor %}', 'city=Paris'],
    ['{{ m.tool_calls[0].function.arguments | tojson }}', '{"city": "Paris"}'],
    ['{{ m.tool_calls[0].function.arguments }}', '{"city":"Paris"}'],
  ])('arguments that are JSON text: %s', (written, expected) => {
    expect(rendered(withContent(`{{ m.content }}{% if m.tool_calls %}${written}{% endif %}{{ "" }}`))).toBe(
      plain.replace('assistant: \n', `assistant: ${expected}\n`),
    )
  })

  test.each([
    ['{% if tools | length > 0 %}tools\n{% endif %}', ''],
    ['{% for t in tools %}tool\n{% endfor %}', ''],
    ['{% if tools is not none %}tools: {{ tools | length }}\n{% endif %}', ''],
    ['{% if tools is defined %}tools\n{% endif %}', ''],
  ])('no tools: %s', (source, expected) => {
    expect(rendered(source + loop, calling.slice(0, 1))).toBe(`${expected}user: Hi\n`)
  })

  test('what fails in every form gives the reason that the form does not remove', () => {
    expect(() => rendered(withContent('{{ m.content | trim }}{{ raise_exception(m.role) }}'))).toThrow(
      /^user$/,
    )
    expect(() =>
      rendered(
        withContent(
          '{{ m.content | trim }}{% if m.role == "tool" %}{{ raise_exception("tool") }}{% endif %}',
        ),
      ),
    ).toThrow(/^tool$/)
    expect(() => rendered('{{ raise_exception("no " ~ (tools is none)) }}')).toThrow(/^no false$/)
  })
})

describe("the assistant's words", () => {
  const words = (source: string, messages: readonly Message[]): string[][] => {
    const template = new BoundedTemplate(source)
    const make = (part: readonly Message[], open: boolean): string =>
      template.render({ messages: part, add_generation_prompt: open })
    return renderAnswers(make, messages).map(({ text, answers }) =>
      answers.map(({ start, end }) => text.slice(start, end)),
    )
  }
  const talk: Message[] = [
    { role: 'user', content: 'It is sunny.' },
    { role: 'assistant', content: ' It is sunny. ' },
    { role: 'user', content: 'assistant: ' },
    { role: 'assistant', content: 'assistant: ' },
    { role: 'user', content: 'not answered' },
  ]
  const both = [[' It is sunny. \n', 'assistant: \n']]
  const thinking = (when: string): string =>
    withContent(`{% if m.role == "assistant"${when} %}<think>\n\n</think>\n\n{% endif %}{{ m.content }}`)

  test('from the first of a message to the end of its turn', () => {
    expect(words(loop, talk)).toEqual(both)
    expect(words(withContent('{{ m.content | trim }}'), talk)).toEqual([['It is sunny.\n', 'assistant:\n']])
    expect(words(loop, talk.slice(0, 1))).toEqual([])
    expect(words(loop, [{ role: 'assistant', content: 'QUENCHANSWER1QUENCH' }])).toEqual([
      ['QUENCHANSWER1QUENCH\n'],
    ])
  })

  test('what the template puts before them is not theirs', () => {
    expect(words(thinking(''), talk)).toEqual(both)
    expect(words(thinking(' and loop.last'), talk)).toEqual(both[0].map((text) => [text]))
    const channel = withContent('<|channel|>final<|message|>{{ m.content }}<|return|>')
    expect(words(channel, [talk[0], { role: 'assistant', content: 'final' }])).toEqual([
      ['final<|return|>\n'],
    ])
  })

  test('a template that leaves out the thoughts of earlier answers', () => {
    const drops = withContent(
      '{% if loop.last %}{{ m.content }}{% else %}{{ m.content.split("</think>")[-1] }}{% endif %}{{ "" }}',
    )
    const answer = (thought: string): Message => ({
      role: 'assistant',
      content: `<think>${thought}</think>a`,
    })
    expect(words(drops, [talk[0], answer('b'), talk[0], answer('c')])).toEqual([
      ['<think>b</think>a\n'],
      ['<think>c</think>a\n'],
    ])
  })

  test('a tag that begins like the one of the prompt is theirs as a whole', () => {
    const source =
      '{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}{% if add_generation_prompt %}[assistant]</think>{% endif %}'
    expect(
      words(source.replace('{{ m.content }}', '<thought>{{ m.content.split("</thought>")[1] }}'), [
        { role: 'assistant', content: 'a</thought>b' },
      ]),
    ).toEqual([['<thought>b']])
  })

  test('thoughts of a field of their own and calls of tools are', () => {
    const source = withContent(
      '{% if m.role == "assistant" %}<think>{{ m.reasoning_content }}</think>{% endif %}{{ m.content }}' +
        '{% if m.tool_calls %}<tool_call>{{ m.tool_calls[0].function.name }}</tool_call>{% endif %}{{ "" }}',
    )
    const called = { ...calling[1], content: '' }
    expect(words(source, [talk[0], { ...called, reasoning_content: 'hm' }, calling[2], calling[3]])).toEqual([
      ['hm</think><tool_call>f</tool_call>\n', '20 degrees.\n'],
    ])
    expect(words(source, [talk[0], called])).toEqual([['<tool_call>f</tool_call>\n']])
    expect(
      words(source.replace('m.content }}', 'm.content[0].text }}'), [
        { role: 'assistant', content: [{ type: 'text', text: 'a part' }] },
      ]),
    ).toEqual([['a part\n']])
  })

  test('of thousands of turns, at the cost of some renderings; or a refusal', () => {
    const long = Array.from({ length: 3000 }, (_, i) => talk[i % 4])
    let characters = 0
    const template = new BoundedTemplate(loop)
    const make = (part: readonly Message[], open: boolean): string => {
      const text = template.render({ messages: part, add_generation_prompt: open })
      characters += text.length
      return text
    }
    const [{ text, answers }] = renderAnswers(make, long)
    expect(answers).toHaveLength(1500)
    expect(answers.slice(-2).map(({ start, end }) => text.slice(start, end))).toEqual(both[0])
    expect(characters).toBeLessThan(20 * text.length)
    expect(() => words(thinking(' and loop.last'), long)).toThrow(/1500 answers; split the conversation/)
  })
})
