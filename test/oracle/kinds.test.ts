/** Texts of several kinds as windows of a model's tokens. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { windowsOfKinds } from '../../src/data/kinds.js'
import { LlamaModel } from '../../src/llama/index.js'
import { END_OF_TEXT, writeTinyGguf } from '../support/tiny-gguf.js'
import { stringValue, withMetadata } from '../support/with-metadata.js'

const length = 8
const template =
  '{{ bos_token }}{% for m in messages %}' +
  "{% if m.role == 'system' %}{{ raise_exception('no instructions') }}{% endif %}" +
  "[{{ m.role }}]\n{{ m.content }}{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}" +
  '{% if add_generation_prompt %}[assistant]\n{% endif %}'
const ask = { role: 'user', content: 'the sea' }
const answer = { role: 'assistant', content: 'and the rain on the stone' }
const text = 'the end of the rain on the sea and the stone of the end'

let folder: string
let plain: string
let chat: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-kinds-'))
  ;[plain, chat] = ['plain.gguf', 'chat.gguf'].map((name) => join(folder, name))
  await writeTinyGguf(plain)
  await withMetadata(plain, chat, { 'tokenizer.chat_template': stringValue(template) })
})
afterAll(() => rm(folder, { recursive: true }))

/** A folder of texts: lines by kind. */
async function texts(name: string, kinds: Record<string, readonly unknown[]>): Promise<string> {
  const path = join(folder, name)
  await mkdir(path)
  for (const [kind, lines] of Object.entries(kinds))
    await writeFile(join(path, `${kind}.jsonl`), lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
  return path
}

/** What a window says without the BOS that it begins with, and special tokens spelled out. */
function read(model: LlamaModel, windows: readonly Int32Array[] | undefined): string {
  const tokens = (windows ?? []).flatMap((window) => {
    expect(window).toHaveLength(length)
    expect(window[0]).toBe(model.bos)
    return [...window.subarray(1)]
  })
  return Buffer.concat(tokens.map((token) => model.tokenBytes(token, true))).toString()
}

test('texts as they are, conversations by the template or as plain text', async () => {
  const path = await texts('mixed', { conversations: [{ messages: [ask, answer, ask] }], prose: [{ text }] })
  for (const file of [plain, chat]) {
    using model = await LlamaModel.load(file, { vocabOnly: true })
    const warnings: string[] = []
    const kinds = await windowsOfKinds(file, model, path, length, (warning) => warnings.push(warning))
    expect([...kinds.keys()]).toEqual(['conversations', 'prose'])
    expect(warnings).toEqual([])
    const prose = read(model, kinds.get('prose')).trim()
    expect(text.slice(0, prose.length)).toBe(prose)
    expect(prose.length).toBeGreaterThan(text.length / 2)
    const spoken = read(model, kinds.get('conversations')).trim()
    const wanted =
      file === plain
        ? `User: the sea\nAssistant: ${answer.content}\nUser: the sea`
        : `[user]\nthe sea[assistant]\n${answer.content}${END_OF_TEXT}`
    expect(wanted.slice(0, spoken.length)).toBe(spoken)
    expect(spoken.length).toBeGreaterThan(wanted.length / 2)
  }
})

test('conversations that the template refuses are plain text, with one warning', async () => {
  const refused = { messages: [{ role: 'system', content: 'the end' }, ask, answer] }
  const path = await texts('refused', { conversations: [refused, refused, { messages: [ask, answer] }] })
  using model = await LlamaModel.load(chat, { vocabOnly: true })
  const warnings: string[] = []
  const kinds = await windowsOfKinds(chat, model, path, length, (warning) => warnings.push(warning))
  expect(warnings).toEqual([expect.stringMatching(/jsonl:1.*no instructions.*read as plain text/)])
  const spoken = read(model, kinds.get('conversations'))
  expect(spoken).toContain('System: the end\nUser: the sea')
  expect(spoken).toContain('[user]\nthe sea')
})

test('what holds something else is named', async () => {
  using model = await LlamaModel.load(plain, { vocabOnly: true })
  const failure = async (name: string, kinds: Record<string, readonly unknown[]>): Promise<unknown> =>
    windowsOfKinds(plain, model, await texts(name, kinds), length).catch(String)
  expect(await failure('none', {})).toMatch(/holds no \.jsonl files/)
  expect(await failure('other', { prose: [{ text }, { texts: text }] })).toMatch(
    /prose\.jsonl.*line 2 has neither/,
  )
  expect(await failure('calls', { talk: [{ messages: [{ role: 'user' }] }] })).toMatch(/line 1 has neither/)
  expect(await failure('short', { prose: [{ text: 'the' }] })).toMatch(/do not fill a window of 8 tokens/)
})
