/** Odd names and numbers, as strangers and scripts give them: one line, the right exit code, and nothing is made. */
import { spawnSync } from 'node:child_process'
import { mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { compiled } from '../support/compiled.js'
import { quench } from '../support/quench.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'

let folder: string
const file = (name: string) => join(folder, name)
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-'))
  await writeTinyGguf(file('m.gguf'))
  await writeFile(file('empty'), '')
  await symlink('loop', file('loop'))
})
afterAll(() => rm(folder, { recursive: true }))

const refused: [string[], number, RegExp][] = [
  [['inspect', ''], 1, /: \(empty name\): no such file or folder$/],
  [['inspect', '@loop'], 1, /loop: its symbolic links lead to each other$/],
  [['inspect', `@${'x'.repeat(300)}`], 1, /x: the name is too long$/],
  [['inspect', '--', '-x\n.gguf'], 1, /: -x\\n\.gguf: no such file or folder$/],
  [['inspect', '@m.gguf', 'x'.repeat(100_000)], 2, /too many arguments for 'inspect'\. Expected 1/],
  [['quantize', '@m.gguf', '-t', 'Q4_0', '-o', ''], 2, /the output needs the name of what to write$/],
  [['quantize', '@m.gguf', '-t', 'Q4KM', '-o', '@x'], 2, /"Q4KM" is not a file type; did you mean Q4_K_M\?$/],
  [['quantize', '@m.gguf', '-t', '__proto__', '-o', '@x'], 2, /"__PROTO__" is not a file type; choose/],
  [
    ['quantize', '@m.gguf', '-t', 'Q4_0', '-o', '@empty/x'],
    1,
    /empty\/x: a part of the path before the last is not a folder$/,
  ],
  [
    ['train', '@m.gguf', '-t', 'Q4_0', '-o', '@x', '--seed', '1e3'],
    2,
    /--seed <n>' argument '1e3' is invalid/,
  ],
  [
    ['eval', '@m.gguf', '-r', '@m.gguf', '-d', '@empty', '-c', '0x10'],
    2,
    /'0x10'.* whole number from 1; see/,
  ],
  [['eval', '@m.gguf', '-r', '@m.gguf', '-d', '@empty'], 1, /empty: holds no text; name a text file/],
  [['compare', '@m.gguf', '-d', '@empty', '--memory', 'NaN'], 2, /It must be a size such as 8GB/],
  [['compare', '@m.gguf', '-d', '@m.gguf', '--store', ''], 2, /--store needs the name of what to write$/],
  [['demo', '--time', '1e999'], 2, /It must be a time such as 90s/],
  [['eval', '@m.gguf', '--hellaswag'], 2, /unknown option '--hellaswag': .* --tasks FILE$/],
  [['bench', '@m.gguf', '-o', 'md'], 2, /unknown option '-o': .* --markdown, --csv or --json$/],
  [['train', '@m.gguf', 'Q4_0', '--epochs', '3'], 2, /unknown option '--epochs': .* --time or --steps$/],
  [
    ['train', '@m.gguf', 'Q4_0', '--lr', '1e-4'],
    2,
    /unknown option '--lr': .* --weight-rate and --scale-rate$/,
  ],
  [['bench', '@m.gguf', '-p', '９'], 2, /-p, --prompt <lengths>' argument '９' is invalid/],
]

test.each(refused)('%j: exit code %i', async (args, code, problem) => {
  const ran = await quench(...args.map((arg) => (arg.startsWith('@') ? file(arg.slice(1)) : arg)))
  expect(ran.stderr).toMatch(/^quench: [^\n]+\n$/)
  expect(ran.stderr.trimEnd().replace(/; see `quench( [a-z]+)? --help`$/, '; see')).toMatch(problem)
  expect(ran).toMatchObject({ code, stdout: '' })
  expect((await readdir(folder)).sort()).toEqual(['empty', 'loop', 'm.gguf'])
})

const main = compiled('cli/main.js')

test.runIf(process.platform === 'linux').each([
  ['>/dev/full', 1, /^quench: standard output: the disk is full[^\n]*\n$/],
  ['>&-', 0, /^$/],
  ['2>/dev/full', 0, /^$/],
  ['<&-', 0, /^$/],
])('inspect %s', (redirection, code, line) => {
  const command = `"$0" "$1" inspect "$2" ${redirection}`
  const { status, stderr } = spawnSync('sh', ['-c', command, process.execPath, main, file('m.gguf')], {
    encoding: 'utf8',
  })
  expect({ status, stderr }).toEqual({ status: code, stderr: expect.stringMatching(line) })
})
