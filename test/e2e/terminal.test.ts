/** Names, metadata, templates and reasons of strangers' files on a terminal: shown, never obeyed, and on one line. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createGguf, openGguf } from '../../src/gguf/index.js'
import { quench, type Ran } from '../support/quench.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'
import { stringValue, withMetadata } from '../support/with-metadata.js'

/** Clears the screen, turns text around and says a line of its own, with C0, C1 and Unicode's ways of doing so. */
const hostile = '\x1b[2J\u009b31mx\u202ey\u2028z\r\nquench: all is well'

let folder: string
let model: string
let text: string
const file = (name: string) => join(folder, name)
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), `quench-${hostile}`))
  model = file('=model.gguf')
  text = file('text.txt')
  await writeTinyGguf(file('tiny.gguf'))
  await withMetadata(file('tiny.gguf'), model, {
    'general.name': stringValue(hostile),
    [`general.${hostile}`]: stringValue(hostile),
    'tokenizer.chat_template': stringValue(
      `{{ raise_exception("${hostile.replace('\r\n', '\\r\\n').replace('\u2028', '')}") }}`,
    ),
  })
  await writeFile(text, 'the sea and the stone in the rain, and on and on; '.repeat(40))
})
afterAll(() => rm(folder, { recursive: true }))

/** Bytes that a terminal would act upon, or a second line where there is one. */
function expectHarmless({ stdout, stderr }: Ran): void {
  expect(stdout + stderr).not.toMatch(/(?!\n)[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u)
  expect(stdout + stderr).not.toMatch(/^quench: all/m)
}

function expectRefused(ran: Ran, code: number, problem: RegExp): void {
  expectHarmless(ran)
  expect(ran).toMatchObject({ code, stdout: '' })
  expect(ran.stderr).toMatch(/^quench: [^\n]*\n$/)
  expect(ran.stderr).toMatch(problem)
}

async function succeeds(...args: string[]): Promise<Ran> {
  const ran = await quench(...args)
  expectHarmless(ran)
  expect(ran).toMatchObject({ code: 0 })
  return ran
}

test('inspect', async () => {
  const { stdout } = await succeeds('inspect', model)
  expect(stdout).toMatch(/^name +\\x1b\[2J\\x9b31mx\\u202ey\\u2028z\\r\\nquench: all is well$/m)
  const json = await succeeds('inspect', model, '--json')
  expect(JSON.parse(json.stdout)).toMatchObject({ path: model, name: hostile })

  const gguf = await openGguf(file('tiny.gguf'))
  const [first] = gguf.tensors
  const tensors = [{ ...first, name: '\x1b[2J\nquench: all is well' }]
  const writer = await createGguf(file('tensor.gguf'), { metadata: gguf.metadata, tensors })
  await writer.write(tensors[0].name, await gguf.read(first))
  await writer.finish()
  await gguf.close()
  const listed = await succeeds('inspect', file('tensor.gguf'), '--tensors')
  expect(listed.stdout).toMatch(/^\\x1b\[2J\\nquench: all is well /m)
})

test('every command that works', async () => {
  const q4 = file('=q4.gguf')
  const common = ['-d', text, '-c', '64', '--threads', '1']
  await succeeds('quantize', model, '-t', 'Q4_0', '-o', q4)
  await succeeds('eval', q4, '-r', model, ...common)
  await succeeds('eval', q4, '-r', model, ...common, '--json')
  const short = ['-p', '4', '-n', '2', '-r', '1', '--threads', '1']
  await succeeds('bench', model, q4, ...short)
  await succeeds('bench', model, q4, ...short, '--markdown')
  const csv = await succeeds('bench', model, q4, ...short, '--csv')
  expect(csv.stdout.split('\n')).toHaveLength(6)
  const trained = ['-t', 'Q4_0', '-o', file('qat.gguf'), '-d', text, '-c', '64', '--steps', '1']
  await succeeds('train', model, ...trained, '--calibration', '64', '--batch', '64')
  const compared = ['--types', 'none', '-r', '0', '-f', file('made'), '--store', file('store.db')]
  await succeeds('compare', model, q4, ...common, ...compared, '-o', file('report.html'))
  await succeeds('compare', model, q4, ...common, ...compared, '--markdown')
  const report = await readFile(file('report.html'), 'utf8')
  expect(report).not.toMatch(/(?!\n)[\p{Cc}\u202e\u2028]/u)
})

test('every reason of a failure', async () => {
  await withMetadata(model, file('architecture.gguf'), { 'general.architecture': stringValue(hostile) })
  await withMetadata(model, file('pre.gguf'), { 'tokenizer.ggml.pre': stringValue(hostile) })
  const trained = ['-t', 'Q4_0', '-o', file('x.gguf'), '-d', text]
  expectRefused(await quench('train', file('architecture.gguf'), ...trained), 1, /architecture/)
  expectRefused(await quench('quantize', file('architecture.gguf'), ...trained.slice(0, 4)), 1, /\\n/)
  expectRefused(await quench('bench', file('pre.gguf')), 1, /\\n/)
  await writeFile(
    file('chat.jsonl'),
    '{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}\n',
  )
  expectRefused(await quench('eval', model, '-r', model, '--chat', file('chat.jsonl')), 1, /\\n/)
  expectRefused(await quench('inspect', file(`no ${hostile}`)), 1, /no such file/i)
  expectRefused(await quench('inspect', `--${hostile}`), 2, /unknown option/)
  expectRefused(await quench('bench', model, '-p', hostile), 2, /whole number/)
  expectRefused(await quench(hostile), 2, /unknown command/)
  const long = 'x'.repeat(100_000)
  const { stderr } = await quench('bench', model, '-p', long)
  expect(stderr.length).toBeLessThan(5000)
})
