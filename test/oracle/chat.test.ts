/** Conversations and continuations on a tiny model with a chat template. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  evaluateChat,
  evaluateGeneration,
  promptsFromTexts,
  readConversations,
  readPrompts,
} from '../../src/evaluate/index.js'
import { LlamaContext, LlamaModel, quantizeModel } from '../../src/llama/index.js'
import { END_OF_TEXT, writeTinyGguf } from '../support/tiny-gguf.js'
import { stringValue, withMetadata } from '../support/with-metadata.js'

const template =
  "{{ bos_token }}{% for m in messages %}[{{ m.role }}]\n{{ m.content }}{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}\n" +
  '{% endfor %}{% if tools %}{{ tools | tojson }}{% endif %}{% if add_generation_prompt %}[assistant]\n{% endif %}'

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
      /plain\.gguf: it has no chat template/,
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

describe('continuations', () => {
  const documents = [
    { name: 'text', text: 'the sea and the rain on the stone in the end of the sea. '.repeat(60) },
  ]

  test('the reference against itself is identical; a quantized file parts somewhere', async () => {
    const prompts = promptsFromTexts(documents, 5)
    expect(prompts).toHaveLength(5)
    const seen: number[] = []
    const onProgress = (done: number, total: number) => seen.push(done / total)
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
  for (const [content, problem] of [
    ['', /holds no conversations/],
    ['{', /line 1: this is not JSON/],
    ['3', /line 1: this is not a JSON object/],
    ['{"messages": []}', /it has no "messages"/],
    ['{"messages": [{"content": "a"}]}', /it has no "messages"/],
    ['{"messages": [{"role": "user"}], "tools": 3}', /its "tools" are not a list/],
    ['{"prompt": "a"}', /is not a conversation/],
  ] as const) {
    await writeFile(path, content)
    await expect(readConversations(path)).rejects.toThrow(problem)
  }
})
