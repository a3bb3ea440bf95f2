/** `quench eval` as a person types it. */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openGguf } from '../../src/gguf/index.js'
import { quantizeModel } from '../../src/llama/index.js'
import { quench } from '../support/quench.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'
import { stringValue, withMetadata } from '../support/with-metadata.js'

let folder: string
let model: string
let q4: string
let q8: string
let text: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-'))
  model = join(folder, 'tiny.gguf')
  q4 = join(folder, 'tiny-q4.gguf')
  q8 = join(folder, 'tiny-q8.gguf')
  text = join(folder, 'text.txt')
  await writeTinyGguf(model)
  await quantizeModel(model, q4, { type: 'Q4_0' })
  await quantizeModel(model, q8, { type: 'Q8_0' })
  await writeFile(text, 'the sea and the stone in the rain, and on and on; '.repeat(20))
})
afterAll(() => rm(folder, { recursive: true }))

/** The weights of the tiny model are random, so it predicts worse than a uniform guess, which is said. */
const worse = /^quench: warning: perplexity is above 271, [^\n]*\n/m

const typed = async (...args: string[]) => {
  const ran = await quench('eval', ...args)
  return { ...ran, stderr: ran.stderr.replace(worse, '') }
}

test('a table by size', async () => {
  const { code, stdout, stderr } = await quench('eval', q4, q8, '-r', model, '-d', text, '-c', '64')
  expect(code).toBe(0)
  expect(stderr).toMatch(worse)
  expect(stderr.replace(worse, '')).toBe('')
  const lines = stdout.trimEnd().split('\n')
  expect(lines.map((line) => line.split(' ')[0]).slice(0, 4)).toEqual([
    'file',
    'tiny.gguf',
    'tiny-q8.gguf',
    'tiny-q4.gguf',
  ])
  expect(lines[3]).toMatch(/Q4_0 +[\d.]+ kB +5\.\d{3} +[\d.]+ +± [\d.]+ +[\d.]+ +± .* %$/)
  expect(lines[4]).toMatch(/^\d+ tokens scored in \d+ windows of 64/)
  expect(new Set(lines.slice(2, 4).map((line) => line.lastIndexOf('±'))).size).toBe(1)
})

test('without a reference: perplexity, loss and speed, and ratios to the first file', async () => {
  const { code, stdout, stderr } = await quench('eval', q8, q4, text, '-c', '64')
  expect(code).toBe(0)
  expect(stderr).toMatch(worse)
  expect(stderr.replace(worse, '')).toBe('')
  const [header, first, second, ...notes] = stdout.trimEnd().split('\n')
  expect(header).toMatch(/^file +type +size +bits\/weight +PPL +nats\/token +ratio +tokens\/s$/)
  expect(first).toMatch(/^tiny-q8\.gguf +Q8_0 +[\d.]+ kB +8\.\d{3}( +[\d.]+ +± [\d.]+){2} +\d+$/)
  expect(second).toMatch(/^tiny-q4\.gguf +Q4_0 +[\d.]+ kB +5\.\d{3}( +[\d.]+ +± [\d.]+){3} +\d+$/)
  expect(notes[0]).toMatch(
    /^\d+ tokens scored in \d+ windows of 64; ratio: perplexity divided by .* first line/,
  )
  expect(notes.at(-1)).toMatch(/^--reference .* adds the KL divergence/)
  expect(stdout).not.toContain('KLD')
})

test('without a reference the figures are those that one gives', async () => {
  const setting = ['-d', text, '-c', '32', '--tokens', '200', '--json']
  const alone = JSON.parse((await typed(q8, q4, ...setting)).stdout)
  const compared = JSON.parse((await typed(q4, '-r', q8, ...setting)).stdout)
  expect(alone.reference).toBeUndefined()
  for (const key of ['context', 'windows', 'tokens', 'vocabulary'] as const)
    expect(alone[key]).toEqual(compared[key])
  const [first, second] = alone.files
  for (const [file, same] of [
    [first, compared.reference],
    [second, compared.files[0]],
  ]) {
    for (const key of ['path', 'type', 'bytes', 'bitsPerWeight']) expect(file[key]).toEqual(same[key])
    for (const key of ['perplexity', 'bitsPerByte']) {
      expect(file[key].mean).toBeCloseTo(same[key].mean, 6)
      expect(file[key].se).toBeCloseTo(same[key].se, 6)
    }
    expect(Math.exp(file.loss.mean)).toBeCloseTo(file.perplexity.mean, 8)
    expect(file.loss.se * file.perplexity.mean).toBeCloseTo(file.perplexity.se, 8)
    expect(file.tokensPerSecond).toBeGreaterThan(0)
  }
  expect(first.perplexityRatio).toBeUndefined()
  expect(second.perplexityRatio.mean).toBeCloseTo(compared.files[0].perplexityRatio.mean, 6)
  expect(second.perplexityRatio.se).toBeCloseTo(compared.files[0].perplexityRatio.se, 6)
  expect(alone.failures).toEqual([])
})

test('tasks without a reference, with or without text; caches of several types', async () => {
  const tasks = join(folder, 'tasks.jsonl')
  await writeFile(tasks, '{"context": "the", "choices": ["sea", "stone"], "answer": 0}\n')
  const onTasks = JSON.parse((await typed(q4, '--tasks', tasks, '--json')).stdout)
  expect(onTasks.files).toBeUndefined()
  expect(onTasks.tasks[0].files[0].accuracy.mean).toBeTypeOf('number')
  expect(onTasks.tasks[0].files[0].agreement).toBeUndefined()
  const both = JSON.parse(
    (await typed(q4, text, '--tasks', tasks, '-c', '32', '--kv-type', 'f32', '--json')).stdout,
  )
  expect(both.files.map(({ kvType }: { kvType: string }) => kvType)).toEqual(['f16', 'f32'])
  expect(both.tasks[0].files).toHaveLength(2)
  const { stdout } = await typed(q4, text, '--tasks', tasks, '-c', '32')
  expect(stdout).toMatch(/nats\/token/)
  expect(stdout).toMatch(/tasks\.jsonl: 1 question/)
  expect(stdout).not.toMatch(/ratio/)
})

test('--json; a limit of tokens; a quantized reference is warned of', async () => {
  const args = [q4, '-r', q8, '-d', text, text, '-c', '32', '--tokens', '100', '--threads', '1', '--json']
  const { code, stdout, stderr } = await typed(...args)
  expect(code).toBe(0)
  expect(stderr).toMatch(/^quench: warning: .*tiny-q8\.gguf is itself quantized \(Q8_0\).*\n$/)
  const result = JSON.parse(stdout)
  expect(result).toMatchObject({ context: 32, windows: 3, tokens: 45, reference: { path: q8, type: 'Q8_0' } })
  expect(result.files).toHaveLength(1)
  const file = result.files[0]
  expect(file).toMatchObject({ path: q4, type: 'Q4_0', bytes: (await readFile(q4)).length })
  const numbers = 'mean se interval min p1 p5 p10 median p90 p95 p99 p999 max quantileErrors'
  expect(Object.keys(file.kld)).toEqual(numbers.split(' '))
  expect(file.windowSums.kld).toHaveLength(3)
})

test('two references, and a reference that is saved and read back', async () => {
  const saved = join(folder, 'reference.saved')
  const rest = ['-d', text, '-c', '64']
  const first = await typed(q4, q8, '-r', model, '--original', model, ...rest, '--save-reference', saved)
  expect(first).toMatchObject({ code: 0, stderr: '' })
  expect(first.stdout).toMatch(/from the reference \(loss of the conversion\)/)
  expect(first.stdout).toMatch(/from the original \(loss of the method\)/)
  expect(first.stdout).toMatch(/Where the loss sits/)
  const second = await typed(q4, q8, '-r', saved, ...rest)
  expect(second).toMatchObject({ code: 0, stderr: '' })
  const row = (stdout: string) => stdout.split('\n').find((line) => line.startsWith('tiny-q4.gguf'))
  expect(row(second.stdout)?.split(/ +/, 9)).toEqual(row(first.stdout)?.split(/ +/, 9))
  expect(second.stdout).toMatch(
    /tiny-q4\.gguf: the saved reference makes the mean uncertain by at most 0\.\d+/,
  )
})

test('conversations and continuations', async () => {
  const chatty = join(folder, 'chatty.gguf')
  const template = '{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}'
  await withMetadata(model, chatty, { 'tokenizer.chat_template': stringValue(template) })
  const talk = ['user', 'assistant'].map((role) => ({ role, content: 'the sea and the rain' }))
  const chat = join(folder, 'talks.jsonl')
  await writeFile(chat, `${JSON.stringify({ messages: talk })}\n`.repeat(3))
  const args = [q4, '-r', chatty, '--chat', chat, '--continue', chat, '--continue-tokens', '5']
  const { code, stdout, stderr } = await typed(...args)
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toMatch(/^Conversations, tokens of the assistant\nfile /)
  expect(stdout).toMatch(/3 prompts continued greedily by up to 5 tokens/)
  const saved = join(folder, 'for-text.saved')
  const more = ['-d', text, '-c', '64', '--continue', '2', '--continue-tokens', '4']
  const ran = await typed(q4, '-r', model, ...more, '--save-reference', saved, '--json')
  expect(JSON.parse(ran.stdout)).toMatchObject({
    context: 64,
    generation: { tokens: 4, files: [{ path: q4 }] },
  })
  expect(await typed(q4, '-r', saved, ...more)).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/serves for --data alone/),
  })
})

test('choice tasks beside text', async () => {
  const tasks = join(folder, 'tasks.jsonl')
  const question = { context: 'the sea', choices: ['and the rain', 'on the stone'], answer: 0 }
  await writeFile(tasks, `${JSON.stringify(question)}\n`.repeat(3))
  const args = [q4, '-r', model, '--tasks', tasks]
  const { code, stdout, stderr } = await typed(...args)
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toMatch(/^tasks\.jsonl: 3 questions/)
  expect(stdout).toMatch(/right: .*acc_norm.*by sum: .*\(acc\).*lost, won: right only with the reference/)
  expect(stdout).toMatch(/tiny-q4\.gguf +\d+\.00 % +[\d.]+-[\d.]+/)
  const few = await typed(q4, '-r', model, '-d', text, '-c', '64', '--tokens', '128')
  expect(few.stdout).toMatch(/± comes from the spread of only 2 windows .* at least 640 tokens/)
  const result = JSON.parse((await typed(...args, '-d', text, '-c', '64', '--json')).stdout)
  expect(result).toMatchObject({
    context: 64,
    tasks: [{ questions: 3, form: 'jsonl', files: [{ path: q4 }] }],
  })
})

/** The model with another token in the place of the first. */
async function otherVocabulary(path: string): Promise<void> {
  const gguf = await openGguf(model)
  const value = gguf.metadata.strings('tokenizer.ggml.tokens').with(0, 'zzz')
  await gguf.close()
  await withMetadata(model, path, { 'tokenizer.ggml.tokens': { type: 'array', itemType: 'string', value } })
}

test('without a text the reference writes one, and that is said', async () => {
  const { code, stdout, stderr } = await quench(
    'eval',
    q4,
    '-r',
    model,
    '--tokens',
    '1024',
    '-c',
    '128',
    '--json',
  )
  expect([code, stderr]).toEqual([0, expect.stringContaining('wrote 9 documents to evaluate on')])
  const { files, tokens, warnings } = JSON.parse(stdout)
  expect(tokens).toBeGreaterThan(300)
  expect(files[0].kld.mean).toBeGreaterThan(0)
  expect(warnings[0]).toContain('no text was given')
})

test('what is wrong is told in one line', async () => {
  const other = join(folder, 'other.gguf')
  await otherVocabulary(other)
  const short = join(folder, 'short.gguf')
  await writeFile(short, (await readFile(model)).subarray(0, 50_000))
  const named = join(folder, 'text.gguf')
  await writeFile(named, await readFile(text))
  const before = await readdir(folder)
  for (const [args, code, problem] of [
    [[q4], 2, /there is no text: name one with --data .* or --reference/],
    [[text], 2, /text\.txt is a text, and there is no GGUF file/],
    [[q4, text, '--chat', text], 2, /--chat needs --reference/],
    [[q4, text, '--continue', '5'], 2, /--continue needs --reference/],
    [[q4, text, '--original', model], 2, /--original needs --reference/],
    [[q4, text, '--save-reference', join(folder, 'saved')], 2, /--save-reference needs --reference/],
    [[q4, text, '-c', '1000'], 2, /only \d+ tokens.*at least 2000/],
    [['-r', model, '-d', text], 2, /missing required argument 'files'/],
    [[q4, '-r', model, '-d', text, '-c', '0'], 2, /--context.*whole number/],
    [[q4, '-r', model, '-d', text, '-c', '4'], 2, /--context is 4/],
    [[q4, '-r', model, '-d', text, '-c', '1000'], 2, /only \d+ tokens.*at least 2000/],
    [[q4, '-r', model, '-d', text, '--tokens', '9'], 2, /--tokens is 9/],
    [[q4, '-r', model, '-d', text, '--kv-type', 'q3_0'], 2, /"q3_0" is not one of f32, f16/],
    [[q4, '-r', model, '--continue', '5'], 2, /takes prompts from the text of --data/],
    [[q4, '-r', model, '--chat', text], 1, /text\.txt: line 1: this is not JSON/],
    [[q4, '-r', model, '--tasks', text], 1, /text\.txt: it has 1 lines; questions are/],
    [[q4, '-r', model, '-d', text, '--gpu-layers', '-2'], 2, /--gpu-layers.*whole number/],
    [[q4, '-r', model, '-d', join(folder, 'none.txt')], 1, /none\.txt: no such file/],
    [[join(folder, 'none.gguf'), '-r', model, '-d', text], 1, /none\.gguf: no such file/],
    [[named, '-r', model, '-d', text], 1, /text\.gguf: this is not a GGUF file/],
    [[short, '-r', model, '-d', text], 1, /short\.gguf: .*truncated/],
    [[other, '-r', model, '-d', text], 1, /other\.gguf: token 0 .*cannot be compared/],
  ] as const) {
    const ran = await typed(...args)
    expect(ran.stderr).toMatch(/^quench: .+\n$/)
    expect(ran.stderr).toMatch(problem)
    expect(ran).toMatchObject({ code, stdout: '' })
  }
  expect(await readdir(folder)).toEqual(before)
})

test('a chat template that would end the process is one sentence', async () => {
  const path = join(folder, 'bomb.gguf')
  await withMetadata(model, path, {
    'tokenizer.chat_template': stringValue('{% for i in range(1000000000) %}x{% endfor %}'),
  })
  const chat = join(folder, 'bomb.jsonl')
  const messages = [
    { role: 'user', content: 'the sea' },
    { role: 'assistant', content: 'and the rain' },
  ]
  await writeFile(chat, JSON.stringify({ messages }))
  const problem = 'it makes a range of more than 100k numbers'
  for (const option of ['--chat', '--continue'])
    expect(await typed(q4, '-r', path, option, chat)).toEqual({
      code: 1,
      stdout: '',
      stderr: `quench: ${path}: its chat template fails for ${chat}:1: ${problem}\n`,
    })
})
