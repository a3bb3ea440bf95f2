/** No command writes over what it reads: exit 2 and one line before any work, and every file is what it was. */
import { copyFile, link, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { quantizeModel } from '../../src/llama/index.js'
import { lockFile } from '../../src/locks.js'
import { quench } from '../support/quench.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'
import { wordText } from '../support/word-text.js'

let folder: string
/** The model M, its Q4_0 Q, text, tasks, and other names of M. */
const at = (name: string): string => join(folder, name)
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-outputs-'))
  await writeTinyGguf(at('m.gguf'))
  await quantizeModel(at('m.gguf'), at('q.gguf'), { type: 'Q4_0' })
  await writeFile(at('text.txt'), wordText(2000))
  await writeFile(at('tasks.jsonl'), '{"context":"the cat","choices":[" sat"," flew"],"answer":0}\n')
  await symlink('m.gguf', at('symlink.gguf'))
  await link(at('m.gguf'), at('hardlink.gguf'))
  await mkdir(at('texts'))
  await copyFile(at('text.txt'), at('texts/a.txt'))
  await mkdir(at('x'))
  for (const i of [1, 2]) await copyFile(at('m.gguf'), at(`split-0000${i}-of-00002.gguf`))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

/** Every file by its name, a link by what it leads to. */
async function contents(): Promise<Map<string, string>> {
  const names = (await readdir(folder, { recursive: true, withFileTypes: true })).filter(
    (e) => !e.isDirectory(),
  )
  const all = await Promise.all(
    names.map(async ({ parentPath, name }): Promise<[string, string]> => {
      const path = join(parentPath, name)
      return [path, (await readFile(path)).toString('base64')]
    }),
  )
  return new Map(all)
}

test.each([
  ['quantize M -t Q4_0 -o hardlink.gguf', 'M'],
  ['quantize split-00001-of-00002.gguf -t Q4_0 -o split-00002-of-00002.gguf', 'split-00002-of-00002.gguf'],
  ['train M -t Q4_0 -d text.txt -o x/../m.gguf', 'M'],
  ['train M -t Q4_0 -d texts -o texts/a.txt', 'texts/a.txt'],
  ['train hardlink.gguf -t Q4_0 -d text.txt -o symlink.gguf', 'hardlink.gguf'],
  ['eval Q -r M -d text.txt --save-reference hardlink.gguf', 'M'],
  ['eval Q -r M -d text.txt --tasks tasks.jsonl --save-reference tasks.jsonl', 'tasks.jsonl'],
  ['eval Q -r M -d text.txt --continue tasks.jsonl --save-reference tasks.jsonl', 'tasks.jsonl'],
  ['compare M -d text.txt --types Q4_0 -f x --store s.db -o symlink.gguf', 'M'],
  ['compare M Q -d text.txt --types none -f x --store Q', 'Q'],
  ['compare M -d text.txt --types Q4_0 -f x --store s.db -o s.db', 's.db'],
])('%s', async (command, named) => {
  const typed = command.split(' ').map((word, i) => {
    if (word === 'M') return at('m.gguf')
    if (word === 'Q') return at('q.gguf')
    if (word === 'x/../m.gguf') return `${folder}/${word}`
    return i > 0 && /[./]/.test(word) ? at(word) : word
  })
  const before = await contents()
  const { code, stdout, stderr } = await quench(
    ...typed.map((word) => (word === 'x' || word === 'texts' ? at(word) : word)),
  )
  expect(stderr).toMatch(/^quench: [^\n]* would overwrite [^\n]*; choose another name[^\n]*\n$/)
  expect(stderr).toContain(named === 'M' ? at('m.gguf') : named === 'Q' ? at('q.gguf') : at(named))
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
  expect(await contents()).toEqual(before)
})

test('an output that another process writes is refused with its number, exit 1', async () => {
  const before = await contents()
  const lock = await lockFile(at('busy.gguf'), 'writing it')
  const store = await lockFile(at('busy.db'), 'using it')
  for (const command of [
    ['quantize', at('m.gguf'), '-t', 'Q4_0', '-o', at('busy.gguf')],
    ['train', at('m.gguf'), '-t', 'Q4_0', '-d', at('text.txt'), '-o', at('busy.gguf')],
    ['eval', at('q.gguf'), '-r', at('m.gguf'), '-d', at('text.txt'), '--save-reference', at('busy.gguf')],
    ['compare', at('m.gguf'), '-d', at('text.txt'), '--types', 'none', at('q.gguf'), '-o', at('busy.gguf')],
    [
      'compare',
      at('m.gguf'),
      '-d',
      at('text.txt'),
      '--types',
      'Q4_0',
      '-f',
      at('x'),
      '--store',
      at('busy.db'),
    ],
  ]) {
    const { code, stdout, stderr } = await quench(...command)
    expect(stderr).toMatch(
      new RegExp(
        `^quench: [^\\n]*busy[^\\n]*: another quench \\(process ${process.pid}\\) is [^\\n]*; wait until it is done\\n$`,
      ),
    )
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
  }
  lock.release()
  store.release()
  expect(await contents()).toEqual(before)
})

test('--resume of a run that is finished says so and exits 0, of none exits 2', async () => {
  const args = [
    '-t',
    'Q4_0',
    '-d',
    at('text.txt'),
    '--tokens',
    '1024',
    '-c',
    '32',
    '--steps',
    '1',
    '--batch',
    '64',
  ]
  const train = (output: string, ...more: string[]) =>
    quench('train', at('m.gguf'), '-o', at(output), ...args, '--calibration', '0', ...more)
  const none = await train('none.gguf', '--resume')
  expect(none.stderr).toMatch(
    /^quench: there is nothing to resume: [^\n]*none\.gguf[^\n]*; leave out --resume to begin\n$/,
  )
  expect({ code: none.code, stdout: none.stdout }).toEqual({ code: 2, stdout: '' })
  expect((await train('done.gguf')).code).toBe(0)
  const file = await readFile(at('done.gguf'))
  const again = await train('done.gguf', '--resume')
  expect(again).toEqual({
    code: 0,
    stdout: `${at('done.gguf')} is finished: there is nothing to resume\n`,
    stderr: '',
  })
  const json = await train('done.gguf', '--resume', '--json')
  expect(JSON.parse(json.stdout)).toEqual({ path: at('done.gguf'), finished: true })
  expect(await readFile(at('done.gguf'))).toEqual(file)
})
