/** Names of things that are no texts or models, and texts in other encodings: one sentence at once, or the text that was meant. */
import { execFileSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { jsonError, quench } from '../support/quench.js'
import { wordText } from '../support/word-text.js'

const model = 'models/quench-5m-f16.gguf'
const setting = ['-c', '64', '--tokens', '256', '--threads', '1']
let folder: string
let text: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-odd-'))
  text = join(folder, 'lf.txt')
  await writeFile(text, wordText(400).replaceAll(' on ', '\n'))
  execFileSync('mkfifo', [join(folder, 'pipe')])
})
afterAll(() => rm(folder, { recursive: true }))

test('a pipe or a device is never waited for', async () => {
  const pipe = join(folder, 'pipe')
  const commands = [
    ['eval', model, '-r', pipe, '-d', text],
    ['eval', model, '-r', model, '-d', pipe],
    ['eval', model, '-r', model, '-d', '/dev/zero'],
    ['eval', model, '-r', model, '--tasks', pipe],
    ['eval', pipe, '-r', model, '-d', text],
    ['train', model, '-o', join(folder, 'x.gguf'), '-t', 'Q4_0', '-d', pipe],
    ['bench', pipe],
    ['inspect', pipe],
  ]
  const runs = await Promise.all(commands.map(async (args) => ({ args, ...(await quench(...args)) })))
  for (const { args, code, stdout, stderr } of runs) {
    expect({ args, code, stdout }).toEqual({ args, code: 1, stdout: '' })
    expect(stderr).toMatch(/^quench: (.*\/pipe|\/dev\/zero): this is not a regular file[^\n]*\n$/)
  }
})

test('other encodings: the same figures, or a sentence', async () => {
  const plain = wordText(400).replaceAll(' on ', '\n')
  const file = async (name: string, bytes: Uint8Array | string): Promise<string> => {
    await writeFile(join(folder, name), bytes)
    return join(folder, name)
  }
  const run = (path: string) => quench('eval', model, '-r', model, '-d', path, ...setting, '--json')
  const perplexity = async (path: string): Promise<number> => {
    const { code, stdout } = await run(path)
    expect(code).toBe(0)
    return (JSON.parse(stdout) as { reference: { perplexity: { mean: number } } }).reference.perplexity.mean
  }
  const wide = await file('utf16.txt', Buffer.from(`\ufeff${plain}`, 'utf16le'))
  expect(await perplexity(wide)).toBe(await perplexity(text))
  for (const [path, problem] of [
    [await file('gzip.txt', gzipSync(plain)), /compressed \(gzip\)/],
    [await file('latin1.txt', Buffer.from(`caf\xe9 ${plain}`, 'latin1')), /not UTF-8 from byte 4 on/],
  ] as const) {
    const { code, stdout, stderr } = await run(path)
    expect({ code, stdout }).toEqual({ code: 1, stdout: jsonError(stderr.slice(8, -1), 1) })
    expect(stderr).toMatch(problem)
    expect(stderr.trimEnd().split('\n')).toHaveLength(1)
  }
  const { code, stdout, stderr } = await run(await file('crlf.txt', plain.replaceAll('\n', '\r\n')))
  expect(code).toBe(0)
  const { warnings } = JSON.parse(stdout) as { warnings: string[] }
  expect(warnings).toEqual([
    expect.stringMatching(/crlf\.txt: lines end with CRLF/),
    expect.stringMatching(/^perplexity is above 2048, .*worse than a uniform guess/), // words in no order
  ])
  expect(stderr).toBe(warnings.map((warning) => `quench: warning: ${warning}\n`).join(''))
})
