/** Conversations and continuations on a tiny model with a chat template. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Message } from '../../src/data/chat-message.js'
import { conversationOf } from '../../src/data/conversation.js'
import {
  evaluateChat,
  evaluateGeneration,
  promptsFromTexts,
  readConversations,
  readPrompts,
} from '../../src/evaluate/index.js'
import { tokenEnds } from '../../src/evaluate/tasks/token-ends.js'
import { openGguf } from '../../src/gguf/index.js'
import { LlamaContext, LlamaModel, quantizeModel } from '../../src/llama/index.js'
import type { ProgressEvent } from '../../src/notices.js'
import { END_OF_TEXT, writeTinyGguf } from '../support/tiny-gguf.js'
import { stringValue, withMetadata } from '../support/with-metadata.js'

const template =
  "{{ bos_token }}{% for m in messages %}[{{ m.role }}]\n{{ m.content }}{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}\n" +
  '{% endfor %}{% if tools %}{{ tools | tojson }}{% endif %}{% if add_generation_prompt %}[assistant]\n{% endif %}'

const shipped = new URL('../../models/quench-5m-f16.gguf', import.meta.url).pathname

let folder: string
let plain: string
let model: string
let q4: string
let talks: string
const messages = [
  { role: 'user', content: 'the sea' },
  { role: 'assistant', content: 'and the rain on the stone' },
  { role: 'user', content: 'and' },
  { role: 'assistant', content: 'on and on' },
]

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-'))
  const path = (name: string) => join(folder, name)
  ;[plain, model, q4, talks] = ['plain.gguf', 'tiny.gguf', 'q4.gguf', 'talks.jsonl'].map(path)
  await writeTinyGguf(plain)
  await withMetadata(plain, model, { 'tokenizer.chat_template': stringValue(template) })
  await quantizeModel(model, q4, { type: 'Q4_0' })
  const lines = [{ messages }, { messages: messages.slice(0, 2) }, { messages: messages.slice(0, 1) }]
  await writeFile(talks, lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
})
afterAll(() => rm(folder, { recursive: true }))

describe('conversations', () => {
  test("only the assistant's tokens count, up to the end of its turn", async () => {
    const conversations = await readConversations(talks)
    const result = await evaluateChat({ reference: model, files: [q4, model], conversations })
    expect(result.windows).toBe(2)
    using loaded = await LlamaModel.load(model)
    const answers = [messages[1], messages[3], messages[1]]
    const tokens = answers.map(({ content }) =>
      loaded.tokenize(`${content}${END_OF_TEXT}`, { parseSpecial: true }),
    )
    expect(result.tokens).toBe(tokens.reduce((sum, { length }) => sum + length, 0))
    expect(result.files[1].kld.mean).toBe(0)
    expect(result.files[0].kld.mean).toBeGreaterThan(0)
    expect(result.files[0].byDocument.map(({ name }) => name)).toEqual([`${talks}:1`, `${talks}:2`])
    // The second conversation, by hand.
    using context = await LlamaContext.create(loaded, { contextSize: 512 })
    const start = loaded.tokenize('[user]\nthe sea\n[assistant]\n', { addSpecial: true })
    const all = Int32Array.of(...start, ...tokens[2])
    await context.decode(all, { logits: 'all' })
    let nll = 0
    for (let i = start.length; i < all.length; i++) {
      const row = context.logits().subarray((i - 1) * loaded.vocabSize, i * loaded.vocabSize)
      nll += Math.log(row.reduce((s, v) => s + Math.exp(v), 0)) - row[all[i]]
    }
    expect(result.reference.windowSums.nll[1] / nll).toBeCloseTo(1, 2)
  })

  test('a template that forgets earlier answers: each answer is a window', async () => {
    const forgetful = join(folder, 'forgetful.gguf')
    const last =
      "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' or loop.last %}{{ m.content }}\n{% endif %}{% endfor %}"
    await withMetadata(plain, forgetful, { 'tokenizer.chat_template': stringValue(last) })
    const conversations = await readConversations(talks)
    const result = await evaluateChat({ reference: forgetful, files: [forgetful], conversations })
    expect(result.windows).toBe(3)
  })

  test('a context cuts conversations; what is wrong is told', async () => {
    const conversations = await readConversations(talks)
    const run = (more: object) => evaluateChat({ reference: model, files: [q4], conversations, ...more })
    const whole = await run({})
    const cut = await run({ context: whole.context - 10 })
    expect(cut.tokens).toBeLessThan(whole.tokens)
    await expect(run({ context: 3 })).rejects.toThrow(/leave no token of an assistant/)
    await expect(run({ conversations: conversations.slice(2) })).rejects.toThrow(
      /no message of the role "assistant"/,
    )
    await expect(run({ reference: plain, files: [plain] })).rejects.toThrow(
      /plain\.gguf: it has no chat template .* name the instruction-tuned model/,
    )
    const bad = join(folder, 'bad.gguf')
    await withMetadata(plain, bad, {
      'tokenizer.chat_template': stringValue("{{ raise_exception('roles must take turns') }}"),
    })
    await expect(run({ reference: bad, files: [bad] })).rejects.toThrow(
      /bad\.gguf: its chat template fails for .*talks\.jsonl:1: roles must take turns/,
    )
  })
})

describe('what a template writes around answers', () => {
  const withTemplate = async (name: string, source: string): Promise<string> => {
    const path = join(folder, name)
    await withMetadata(plain, path, { 'tokenizer.chat_template': stringValue(source) })
    return path
  }
  /** Number of scored tokens. */
  const scored = async (path: string, conversation: readonly Message[]): Promise<number> => {
    const conversations = [{ name: 'a', messages: conversation }]
    return (await evaluateChat({ reference: path, files: [], conversations })).tokens
  }
  const marked = (before: string): string =>
    `{% for m in messages %}[{{ m.role }}]{% if m.role == 'assistant' %}${before}{% endif %}{{ m.content }}|{% endfor %}`

  test('is not scored: empty thoughts, names of channels', async () => {
    using loaded = await LlamaModel.load(model)
    const expected = [messages[1], messages[3]]
      .map(({ content }) => loaded.tokenize(`]${content}|`).length - loaded.tokenize(']').length)
      .reduce((a, b) => a + b)
    for (const before of ['', '<think>\n\n</think>', '<|channel|>final<|message|>']) {
      const path = await withTemplate('before.gguf', marked(before))
      expect(await scored(path, messages)).toBe(expected)
    }
    const calls = [{ type: 'function', function: { name: 'look', arguments: '{}' } }]
    const called = [messages[0], { role: 'assistant', content: null, tool_calls: calls }]
    const path = await withTemplate(
      'calls.gguf',
      marked('<think></think>').replace('|{%', '{% if m.tool_calls %}(look){% endif %}|{%'),
    )
    expect(await scored(path, called)).toBe(loaded.tokenize('](look)|').length - 1)
  })

  test('places in a text are those of tokens', async () => {
    const text = `[user]\nthé sea 😀\n\n${END_OF_TEXT}\n and `
    for (const path of [plain, shipped]) {
      using loaded = await LlamaModel.load(path, { vocabOnly: true })
      const tokens = loaded.tokenize(text, { addSpecial: true, parseSpecial: true })
      const ends = tokenEnds(loaded, tokens, Buffer.from(text))
      expect(ends?.at(-1)).toBe(Buffer.byteLength(text))
      for (const [i, token] of tokens.entries())
        if (token !== loaded.bos)
          expect(
            Buffer.from(text)
              .subarray(i === 0 ? 0 : ends?.[i - 1], ends?.[i])
              .toString('latin1')
              .trim(),
          ).toBe(Buffer.from(loaded.tokenBytes(token, true)).toString('latin1').trim())
    }
  })

  test('thousands of turns cost what they are long', async () => {
    const long = Array.from({ length: 3000 }, (_, i) => messages[i % 4])
    expect(await scored(model, long)).toBeGreaterThan(0)
  })

  test('tokens of turns that the vocabulary has as ordinary text are named', async () => {
    const gguf = await openGguf(shipped)
    const tokens = [...gguf.metadata.strings('tokenizer.ggml.tokens')]
    const merges = gguf.metadata.strings('tokenizer.ggml.merges')
    const types = Int32Array.from(gguf.metadata.numbers('tokenizer.ggml.token_type'))
    await gguf.close()
    const turn = '<start_of_turn>'
    tokens[2045] = turn
    const known = new Set(tokens)
    const source = `{% for m in messages %}${turn}{{ m.role }}\n{{ m.content }}\n{% endfor %}`
    const warnings: (readonly string[])[] = []
    for (const type of [3, 1]) {
      types[2045] = type
      const path = join(folder, `turns-${type}.gguf`)
      await withMetadata(shipped, path, {
        'tokenizer.chat_template': stringValue(source),
        'tokenizer.ggml.tokens': { type: 'array', itemType: 'string', value: tokens },
        'tokenizer.ggml.token_type': { type: 'array', itemType: 'int32', value: types.slice() },
        'tokenizer.ggml.merges': {
          type: 'array',
          itemType: 'string',
          // No merge may lead to the token that has gone.
          value: merges.filter((merge) => known.has(merge.replace(' ', ''))),
        },
      })
      const conversations = [{ name: 'a', messages }]
      warnings.push((await evaluateChat({ reference: path, files: [], conversations })).warnings)
      const generated = await evaluateGeneration({
        reference: path,
        files: [],
        prompts: conversations,
        tokens: 1,
      })
      expect(generated.warnings).toEqual(warnings.at(-1))
      using loaded = await LlamaModel.load(path, { vocabOnly: true })
      const told: string[] = []
      await conversationOf(path, loaded, 128, (warning) => told.push(warning))
      expect(told).toEqual(warnings.at(-1))
    }
    expect(warnings).toEqual([
      [],
      [
        expect.stringMatching(
          /turns-1\.gguf: its chat template writes <start_of_turn>, .*ordinary text \(type NORMAL\).* cuts into pieces/,
        ),
      ],
    ])
  })
})

test('a template that would end the process: a sentence for conversations, a warning where a model writes its own', async () => {
  const path = join(folder, 'bomb.gguf')
  await withMetadata(plain, path, {
    'tokenizer.chat_template': stringValue('{% for i in range(1000000000) %}x{% endfor %}'),
  })
  const conversations = await readConversations(talks)
  const problem = 'it makes a range of more than 100k numbers'
  const failed = `${path}: its chat template fails for ${talks}:1: ${problem}`
  await expect(evaluateChat({ reference: path, files: [], conversations })).rejects.toThrow(failed)
  await expect(
    evaluateGeneration({ reference: path, files: [], prompts: conversations, tokens: 1 }),
  ).rejects.toThrow(failed)
  using loaded = await LlamaModel.load(path, { vocabOnly: true })
  const warnings: string[] = []
  expect(await conversationOf(path, loaded, 64, (warning) => warnings.push(warning))).toBeUndefined()
  expect(warnings).toEqual([
    `${path}: its chat template fails for a plain conversation: ${problem}; the model writes plain text and no conversations`,
  ])
})

describe('continuations', () => {
  const documents = [
    { name: 'text', text: 'the sea and the rain on the stone in the end of the sea. '.repeat(60) },
  ]

  test('the reference against itself is identical; a quantized file parts somewhere', async () => {
    const prompts = promptsFromTexts(documents, 5)
    expect(prompts).toHaveLength(5)
    const seen: number[] = []
    const onProgress = ({ done, total }: ProgressEvent) => seen.push(done / total)
    const result = await evaluateGeneration({
      reference: model,
      files: [q4, model],
      prompts,
      tokens: 20,
      onProgress,
    })
    expect(seen.at(-1)).toBe(1)
    const [four, self] = result.files
    expect(self).toMatchObject({ identical: { mean: 1 }, texts: result.reference.texts })
    expect(four.identical.mean).toBeLessThan(1)
    expect(four.agreed.mean).toBeLessThan(20)
    for (const [i, text] of four.texts.entries()) {
      const same = four.agreedCharacters[i]
      expect(text.slice(0, same)).toBe(result.reference.texts[i].slice(0, same))
    }
    expect(four.toolCalls).toBeUndefined()
  })

  test('what is written is the likeliest token each time', async () => {
    const prompts = promptsFromTexts(documents, 2)
    const { reference } = await evaluateGeneration({ reference: model, files: [], prompts, tokens: 6 })
    using loaded = await LlamaModel.load(model)
    using context = await LlamaContext.create(loaded, { contextSize: 512 })
    for (const [i, prompt] of prompts.entries()) {
      if (!('text' in prompt)) throw new Error('a text')
      const tokens = [...loaded.tokenize(prompt.text, { addSpecial: true })]
      const start = tokens.length
      while (
        tokens.length < start + 6 &&
        !loaded.isEog(tokens[tokens.length - 1] === loaded.bos ? 0 : tokens[tokens.length - 1])
      ) {
        context.clear()
        await context.decode(tokens, { logits: 'last' })
        const logits = context.logits()
        tokens.push(logits.indexOf(Math.max(...logits)))
      }
      expect(reference.texts[i]).toBe(loaded.detokenize(tokens.slice(start), { special: true }))
    }
  })

  test('tool calls through the template', async () => {
    const path = join(folder, 'tools.jsonl')
    const tools = [{ type: 'function', function: { name: 'look', parameters: { type: 'object' } } }]
    await writeFile(
      path,
      `${JSON.stringify({ messages: messages.slice(0, 1), tools })}\n{"prompt":"the sea"}\n`,
    )
    const prompts = await readPrompts(path)
    const { files, ...rest } = await evaluateGeneration({
      reference: model,
      files: [model],
      prompts,
      tokens: 4,
    })
    expect(rest.prompts[0]).toContain('"name": "look"')
    expect(rest.prompts[0].endsWith('[assistant]\n')).toBe(true)
    expect(rest.prompts[1]).toBe('the sea')
    expect(rest.warnings).toEqual([])
    const long = [{ name: 'long.jsonl:1', text: 'the sea '.repeat(20_000) }]
    await expect(
      evaluateGeneration({ reference: model, files: [], prompts: long, tokens: 4 }),
    ).rejects.toThrow(/^long\.jsonl:1 has \d+ tokens, .* was trained with; shorten it$/)
    // Random weights write no calls.
    expect(files[0].toolCalls).toMatchObject({ prompts: 1, parsed: { mean: 0 }, identical: { mean: 0 } })
  })
})

test('files of conversations: three forms, and lines that are none', async () => {
  const path = join(folder, 'forms.jsonl')
  const turn = { role: 'user', content: 'a' }
  const lines = [{ messages: [turn] }, [turn], { conversations: [{ from: 'human', value: 'a' }] }]
  await writeFile(path, lines.map((line) => JSON.stringify(line)).join('\n'))
  for (const { messages: read } of await readConversations(path)) expect(read).toEqual([turn])
  await writeFile(path, `\ufeff${lines.map((line) => JSON.stringify(line)).join('\r\n')}`)
  expect(await readConversations(path)).toHaveLength(3)
  const line = JSON.stringify(lines[0])
  for (const [content, problem] of [
    ['', /holds no conversations/],
    ['{', /line 1: this is not JSON/],
    ['3', /line 1: this is not a JSON object/],
    ['{"messages": []}', /it has no "messages"/],
    ['{"messages": [{"content": "a"}]}', /it has no "messages"/],
    ['{"messages": [{"role": "user"}], "tools": 3}', /its "tools" are not a list/],
    ['{"prompt": "a"}', /is not a conversation/],
    [
      `${line}\n{"messages": ${'['.repeat(100_000)}${']'.repeat(100_000)}}`,
      /line 2: it has more than 200 lists and objects within one another$/,
    ],
    [`${line}\n{"prompt": "${'a'.repeat(5_000_000)}"}`, /line 2: it has more than 4000000 characters$/],
  ] as const) {
    await writeFile(path, content)
    await expect(readConversations(path)).rejects.toThrow(problem)
  }
})
