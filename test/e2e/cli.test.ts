/** What holds for every command: colour, width, progress, errors as JSON, outputs without a name, threads, caches, doctor, completions. */
import { spawnSync } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { jsonError, quench, quenchWith } from '../support/quench.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'
import { firstBlocks } from '../support/with-metadata.js'
import { wordText } from '../support/word-text.js'

const inRepository = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url))
const shipped = inRepository('models/quench-5m-f16.gguf')
const heldOut = inRepository('models/quench-5m.test.txt')

let folder: string
let model: string
let text: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-'))
  model = join(folder, 'm-f16.gguf')
  text = join(folder, 'text.txt')
  await writeTinyGguf(model)
  await writeFile(text, wordText(400))
})
afterAll(() => rm(folder, { recursive: true }))

describe('colour', () => {
  /** Escapes as a sign that can be seen. */
  const seen = (output: string): string => output.replaceAll('\x1b', '%')
  const bad = ['inspect', 'no-such-file.gguf']

  test('is not for pipes', async () => {
    expect(seen((await quench('inspect', model)).stdout)).not.toContain('%[')
    expect(seen((await quench(...bad)).stderr)).not.toContain('%[')
  })

  test('FORCE_COLOR: headings are bold, errors red, and the text is the same', async () => {
    const forced = { FORCE_COLOR: '1' }
    const stdout = seen((await quenchWith(forced, 'inspect', model)).stdout)
    expect(stdout).toMatch(/^%\[1mtype +tensors +weights +size%\[22m$/m)
    expect(stdout.replace(/%\[\d+m/g, '')).toBe((await quench('inspect', model)).stdout)
    expect(seen((await quenchWith(forced, ...bad)).stderr)).toMatch(/^%\[31mquench: .*%\[39m\n$/)
    expect(seen((await quenchWith(forced, '--help')).stdout)).toMatch(/^%\[1mCommands:%\[22m$/m)
    expect(seen((await quenchWith(forced, 'inspect', model, '--json')).stdout)).not.toContain('%[')
  })

  test('NO_COLOR and FORCE_COLOR=0: none', async () => {
    for (const env of [{ NO_COLOR: '1' }, { FORCE_COLOR: '0' }])
      expect(seen((await quenchWith(env, 'inspect', model)).stdout)).not.toContain('%[')
  })
})

test('COLUMNS=40: tables become lists, and no line is longer', async () => {
  const narrow = { COLUMNS: '40' }
  const { stdout } = await quenchWith(narrow, 'inspect', model, '--tensors')
  expect(stdout.split('\n').filter((line) => line.length > 40 && /\S\s+\S/.test(line.trim()))).toEqual([])
  const q4 = join(folder, 'narrow.gguf')
  await quench('quantize', model, q4, 'q4_0')
  const args = ['--reference', model, '-d', text, '-c', '32', '--tokens', '64']
  const ran = await quenchWith(narrow, 'eval', q4, ...args)
  expect(ran.stdout).toMatch(/^narrow\.gguf\n {2}type +Q4_0\n/m)
  expect(ran.stdout.split('\n').filter((line) => line.length > 40)).toEqual([])
})

describe('errors of --json', () => {
  test.each([
    [['inspect', 'no-such.gguf', '--json'], 1, 'no-such.gguf: no such file or folder'],
    [['inspect', '--json'], 2, "missing required argument 'file'; see `quench inspect --help`"],
    [
      ['bench', 'x', '--json', '--csv'],
      2,
      '--json, --markdown and --csv exclude each other; give one of them',
    ],
  ])('%j', async (args, code, message) => {
    expect(await quench(...args)).toEqual({
      code,
      stdout: jsonError(message, code),
      stderr: `quench: ${message}\n`,
    })
  })
})

describe('outputs without a name', () => {
  test('lie beside the input, are printed, and replace nothing', async () => {
    const output = join(folder, 'm-Q4_K_M.gguf')
    const ran = await quench('quantize', model, 'q4_k')
    expect(ran).toMatchObject({ code: 0, stdout: expect.stringContaining(output) })
    const bytes = await readFile(output)
    for (const args of [['q4_k'], ['Q4_K_M'], ['--type', 'Q4_K_M']])
      expect(await quench('quantize', model, ...args)).toEqual({
        code: 2,
        stdout: '',
        stderr: `quench: ${output} exists already; name another output with --output, or the same to replace it\n`,
      })
    expect((await quench('quantize', model, output, 'Q4_K_M')).code).toBe(0)
    expect(await readFile(output)).toEqual(bytes)
  })

  test('of train too; --resume of a finished one says so', async () => {
    const output = join(folder, 'm-Q4_0-QAT.gguf')
    const args = ['--type', 'q4_0', '-d', text, '-c', '32', '--batch', '64', '--tokens', '1024']
    const train = (...more: string[]) =>
      quench('train', model, ...args, '--steps', '1', '--calibration', '0', '-t', '1', ...more)
    const dry = await train('--dry-run')
    expect(dry).toMatchObject({ code: 0, stdout: expect.stringContaining(`the file would be ${output}`) })
    expect(await readdir(folder)).not.toContain('m-Q4_0-QAT.gguf')
    expect(await train()).toMatchObject({ code: 0, stdout: expect.stringContaining(output) })
    expect(await train()).toMatchObject({ code: 2, stderr: expect.stringContaining('exists already') })
    expect(await train('--resume')).toMatchObject({
      code: 0,
      stdout: `${output} is finished: there is nothing to resume\n`,
    })
  })
})

describe('--progress', () => {
  const run = (how: string) =>
    quench('bench', model, '-p', '16', '-n', '4', '-r', '2', '-t', '1', '--progress', how, '--json')

  test('jsonl: every line of standard error is an event of version 1', async () => {
    const { code, stdout, stderr } = await run('jsonl')
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ settings: { threads: 1 } })
    const events = stderr
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    for (const event of events) expect(event).toMatchObject({ v: 1, time: expect.stringMatching(/Z$/) })
    expect(events[0]).toMatchObject({ event: 'stage', stage: 'bench' })
    expect(events.at(-2)).toMatchObject({ event: 'progress', stage: 'bench', left: 0 })
    expect(events.at(-2).done).toBe(events.at(-2).total)
    expect(events.at(-1)).toMatchObject({ event: 'done', stage: 'bench' })
  })

  test('jsonl: an error is an event as well', async () => {
    const { code, stderr } = await quench('bench', 'none.gguf', '--progress', 'jsonl')
    expect(code).toBe(1)
    expect(JSON.parse(stderr)).toMatchObject({
      v: 1,
      event: 'error',
      exitCode: 1,
      message: expect.stringMatching(/none\.gguf/),
    })
  })

  test('none says nothing, and other words are refused', async () => {
    expect(await run('none')).toMatchObject({ code: 0, stderr: '' })
    expect(await run('often')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('auto, lines, jsonl, none'),
    })
  })
})

test('--threads wins over QUENCH_THREADS', async () => {
  const env = { QUENCH_THREADS: 'many' }
  const output = join(folder, 'threads.gguf')
  const args = ['quantize', model, output, 'Q4_0']
  expect(await quenchWith(env, ...args)).toMatchObject({
    code: 2,
    stderr: 'quench: QUENCH_THREADS is "many"; set it to a whole number from 1 to 512\n',
  })
  expect((await quenchWith(env, ...args, '-t', '1')).code).toBe(0)
  expect((await quench('quantize', model, output, 'Q4_0', '-t', '0')).stderr).toMatch(/threads from 1 to 512/)
})

test('more threads than processors are warned of at once', async () => {
  const { stderr } = await quench('bench', 'none.gguf', '-t', '512')
  expect(stderr).toMatch(
    /^quench: warning: 512 threads on \d+ processors?: .*; leave out --threads\nquench: none\.gguf/,
  )
})

test('types of cached keys and values: both, and each for itself', async () => {
  const [block, q4] = ['block.gguf', 'cache.gguf'].map((name) => join(folder, name))
  await firstBlocks(shipped, block, 1)
  await quench('quantize', block, q4, 'Q4_0')
  const common = ['--reference', block, '-d', heldOut, '-c', '32', '--tokens', '128', '-t', '1', '--json']
  const evaluate = async (...more: string[]) => {
    const { code, stdout } = await quench('eval', q4, ...common, ...more)
    expect(code).toBe(0)
    const { files } = JSON.parse(stdout) as { files: { kvType: string; kld: { mean: number } }[] }
    return new Map(files.map(({ kvType, kld }) => [kvType, kld.mean]))
  }
  const both = await evaluate('-ctk', 'q8_0', '-ctv', 'q8_0')
  expect([...both.keys()]).toEqual(['f16', 'q8_0'])
  expect(await evaluate('--kv-type', 'q8_0')).toEqual(both)
  expect([...(await evaluate('-ctk', 'f16', '-ctv', 'f16')).keys()]).toEqual(['f16'])
  const keys = await evaluate('-ctk', 'q8_0')
  expect([...keys.keys()]).toEqual(['f16', 'q8_0/f16'])
  expect(keys.get('f16')).toBe(both.get('f16'))
  expect(new Set([keys.get('q8_0/f16'), both.get('q8_0'), both.get('f16')]).size).toBe(3)

  const bench = async (...more: string[]) => {
    const ran = await quench('bench', q4, '-p', '16', '-n', '2', '-r', '1', '-t', '1', '--json', ...more)
    expect(ran.code).toBe(0)
    const { files, settings } = JSON.parse(ran.stdout)
    return { type: settings.kvType, bytes: files[0].memory.kvBytes }
  }
  const f16 = await bench()
  // llama.cpp tells hundredths of a MiB.
  const hundredth = 2 ** 20 / 100
  const pair = await bench('-ctk', 'q8_0', '-ctv', 'q8_0')
  expect(pair.type).toBe('q8_0')
  expect(Math.abs(pair.bytes - (f16.bytes * 34) / 64)).toBeLessThan(hundredth)
  const mixed = await bench('-ctk', 'q8_0')
  expect(mixed.type).toBe('q8_0/f16')
  expect(Math.abs(mixed.bytes - (f16.bytes * 98) / 128)).toBeLessThan(hundredth)
  expect((await quench('bench', q4, '-ctk', 'q8_0', '--kv-type', 'f16')).code).toBe(2)
})

test('layers for a GPU that is not there stay on the processor, which is said', async () => {
  const args = ['bench', model, '-p', '8', '-n', '2', '-r', '1', '-t', '1', '--json']
  const { code, stderr } = await quench(...args, '-ngl', 'all')
  expect({ code, stderr }).toEqual({
    code: 0,
    stderr: expect.stringMatching(/^quench: warning: this build of llama\.cpp finds no GPU, [^\n]*\n$/),
  })
  expect(await quench(...args, '-ngl', '0')).toMatchObject({ code: 0, stderr: '' })
})

describe('doctor', () => {
  test('says what is there', async () => {
    const { code, stdout } = await quench('doctor', '--json')
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({
      versions: {
        node: process.versions.node,
        llama: expect.stringMatching(/^packages \d/),
        onnxruntime: expect.stringMatching(/^\d/),
      },
      threads: { count: expect.any(Number), why: expect.any(String) },
      memory: { bytes: expect.any(Number), why: expect.stringMatching(/^three quarters of the/) },
      devices: [{ name: 'CPU', kind: 'cpu' }],
      cache: { folder: process.env.QUENCH_CACHE ?? expect.any(String) },
      missing: [],
    })
    const plain = await quench('doctor')
    expect(plain.stdout).toMatch(/^threads +\d+ \(.*\)$/m)
    expect(plain.stdout).toMatch(/\ntraining and evaluating are possible\n/)
  })

  test.each([
    ['v2', '0::/a/b\n', { 'sys/fs/cgroup/a/cpu.max': '50000 100000\n' }],
    [
      'v1',
      '3:cpu,cpuacct:/docker/1\n0::/\n',
      {
        'sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_quota_us': '50000\n',
        'sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_period_us': '100000\n',
      },
    ],
  ])('cgroup %s: the limits of a container', async (version, self, limits) => {
    const groups = join(folder, version)
    for (const [path, content] of Object.entries({ 'proc/self/cgroup': self, ...limits })) {
      await mkdir(dirname(join(groups, path)), { recursive: true })
      await writeFile(join(groups, path), content)
    }
    const preload = new URL('../support/control-groups.mjs', import.meta.url).href
    const limited = { CONTROL_GROUPS: groups, MEMORY_LIMIT: String(2 ** 30), QUENCH_THREADS: undefined }
    const env = { ...limited, NODE_OPTIONS: `--import ${preload}` }
    const { stdout } = await quenchWith(env, 'doctor', '--json')
    expect(JSON.parse(stdout)).toMatchObject({
      threads: { count: 1, why: 'the CPU limit of the container is 0.5' },
      memory: { bytes: 0.75 * 2 ** 30, why: expect.stringContaining('that the container may take') },
    })
  })

  test('says what is missing and how to get it, and exits with 1', async () => {
    const env = { QUENCH_LLAMA_PACKAGE: 'linux-x64-none', QUENCH_THREADS: '3' }
    const { code, stdout } = await quenchWith(env, 'doctor')
    expect(code).toBe(1)
    expect(stdout).toMatch(/^threads +3 \(as QUENCH_THREADS says\)$/m)
    expect(stdout).toMatch(/^to report a bug: .*`quench doctor --json`/m)
    expect(stdout).toMatch(
      /llama\.cpp is missing: install it with `npm install @node-llama-cpp\/linux-x64-none@/,
    )
  })
})

describe('complete', () => {
  test.each(['bash', 'zsh', 'fish', 'powershell'])('%s: a script that asks quench', async (shell) => {
    const { code, stdout } = await quench('complete', shell)
    expect(code).toBe(0)
    expect(stdout).toMatch(/quench['"]? complete/)
  })

  test('bash: a script that may be read twice, without the package bash-completion', async () => {
    const { stdout } = await quench('complete', 'bash')
    const script = join(folder, 'completion.bash')
    await writeFile(script, stdout)
    const typed = `COMP_WORDS=(quench doc); COMP_CWORD=1; quench() { echo doctor; echo :4; }; compopt() { :; }`
    const used = `. ${script} && . ${script} && ${typed} && __quench_complete && echo "$COMPREPLY"`
    const { stdout: found, stderr } = spawnSync('bash', ['--norc', '-c', used], { encoding: 'utf8' })
    expect({ found, stderr }).toEqual({ found: 'doctor\n', stderr: '' })
  })

  const completed = async (...words: string[]): Promise<string[]> => {
    const { stdout } = await quench('complete', '--', ...words)
    return stdout
      .split('\n')
      .map((line) => line.split('\t')[0])
      .filter((line) => line !== '' && !line.startsWith(':'))
  }

  test('commands, options, types and files', async () => {
    expect(await completed('d')).toEqual(['demo', 'doctor'])
    expect(await completed('train', '--me')).toEqual(['--memory', '--method'])
    expect(await completed('train', model, '--type', 'Q6')).toEqual(['Q6_K'])
    expect(await completed('quantize', model, 'Q6')).toEqual(['Q6_K'])
    expect(await completed('bench', model, '--cache-type-k', 'q8')).toEqual(['q8_0'])
    expect(await completed('inspect', join(folder, 'm-f'))).toEqual([model])
    expect(await completed('inspect', join(folder, 'te'))).toEqual([])
    expect(await completed('eval', model, '--data', join(folder, 'te'))).toEqual([text])
  })
})
