/** `quench train` as a person types it: results, wrong input, SIGKILL and Ctrl-C. */
import { spawn } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Random } from '../../src/random.js'
import { quench, withoutProgress } from '../support/quench.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'

let folder: string
let model: string
let text: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-'))
  model = join(folder, 'tiny.gguf')
  text = join(folder, 'text.txt')
  await writeTinyGguf(model, { layers: 2, width: 256, feedForward: 256 })
  const random = new Random(5)
  const words = ['the', 'sea', 'and', 'the', 'state', 'of', 'an', 'ocean', 'in', 'her', 'hand', 'on', 'that']
  await writeFile(text, Array.from({ length: 3000 }, () => words[random.int(words.length)]).join(' '))
})
afterAll(() => rm(folder, { recursive: true }))

const settings = ['--context', '64', '--batch', '128', '--tokens', '2048']
const typed = (...args: string[]) => quench('train', ...args)

test('trains, says what was won, and leaves only the file', async () => {
  const output = join(folder, 'out.gguf')
  const { code, stdout, stderr } = await typed(
    model,
    '-t',
    'q2_k',
    '-o',
    output,
    '-d',
    text,
    ...settings,
    '--steps',
    '12',
  )
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toMatch(/12 steps, .* tokens of your text/)
  expect(stdout).toMatch(
    /held-out KLD, nats per token: PTQ [\d.e-]+ ± [\d.e-]+\n {2}[\d.e-]+ ± [\d.e-]+ after blockwise, /,
  )
  expect(stdout).toMatch(/^plan: the whole model in memory/)
  expect(stdout).toMatch(/[\d.]+ % of what PTQ lost is won back/)
  expect(stdout).toMatch(/trained weights, 0 of them differ/)
  expect((await readdir(folder)).filter((name) => name.includes('out.gguf'))).toEqual(['out.gguf'])
})

test('--json prints one document', async () => {
  const output = join(folder, 'json.gguf')
  const { code, stdout } = await typed(
    model,
    '-t',
    'Q4_0',
    '-o',
    output,
    '-d',
    text,
    ...settings,
    '--steps',
    '2',
    '--json',
  )
  expect(code).toBe(0)
  const report = JSON.parse(stdout)
  expect(report).toMatchObject({ path: output, type: 'Q4_0', steps: 2, tokens: 256, text: 'files' })
  expect(report.check.differing).toBe(0)
  expect(report.bytes).toBe((await readFile(output)).length)
})

test('--time sets the number of steps', async () => {
  const output = join(folder, 'time.gguf')
  const { code, stdout } = await typed(
    model,
    '-t',
    'Q4_0',
    '-o',
    output,
    '-d',
    text,
    ...settings,
    '--calibration',
    '512',
    '--time',
    '5s',
    '--json',
  )
  expect(code).toBe(0)
  expect(JSON.parse(stdout).steps).toBeGreaterThanOrEqual(4)
})

/** Starts a run that saves every step; a signal is sent after so many milliseconds. */
function started(output: string, args: string[], signal?: NodeJS.Signals, after = 0) {
  const all = [
    'train',
    model,
    '-t',
    'Q3_K_M',
    '-o',
    output,
    '-d',
    text,
    ...settings,
    '--steps',
    '30',
    '--checkpoint-every',
    '0',
    ...args,
  ]
  const child = spawn(process.execPath, ['--import', 'tsx', 'src/cli/main.ts', ...all], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    stderr += chunk
  })
  const timer = signal && setTimeout(() => child.kill(signal), after)
  return new Promise<{ code: number | null; stderr: string }>((resolve) => {
    child.once('close', (code) => {
      clearTimeout(timer)
      resolve({ code, stderr: withoutProgress(stderr) })
    })
  })
}

test('a run that is killed at random moments goes on and ends with the same file', async () => {
  const whole = join(folder, 'whole.gguf')
  const began = performance.now()
  expect((await started(whole, [])).code).toBe(0)
  const duration = performance.now() - began
  const killed = join(folder, 'killed.gguf')
  const random = new Random(11)
  let kills = 0
  for (let i = 0; i < 8; i++) {
    const after = duration * (0.3 + 0.4 * random.uniform())
    const { code } = await started(killed, i > 0 ? ['--resume'] : [], i < 7 ? 'SIGKILL' : undefined, after)
    if (code === 0) break
    kills++
  }
  expect(kills).toBeGreaterThan(0)
  expect((await readFile(killed)).equals(await readFile(whole))).toBe(true)
  expect((await readdir(folder)).filter((name) => name.includes('killed'))).toEqual(['killed.gguf'])
}, 300_000)

test('Ctrl-C stops with a checkpoint and says how to go on', async () => {
  const output = join(folder, 'stopped.gguf')
  const { code, stderr } = await started(output, ['--steps', '100000'], 'SIGINT', 4000)
  expect(code).toBe(130)
  expect(stderr).toMatch(
    /^quench: stopped ((after step|in block) \d+.*--resume|before training began)[^\n]*\n$/,
  )
  const left = (await readdir(folder)).filter((name) => name.includes('stopped'))
  expect(left.every((name) => ['stopped.gguf.checkpoint', 'stopped.gguf.blocks'].includes(name))).toBe(true)
})

test.each([
  [['--type', 'Q4_0'], 2, /--output/],
  [['-o', 'x.gguf'], 2, /--type/],
  [['-t', 'F16', '-o', 'x.gguf'], 2, /--type F16 cannot be trained; choose one of/],
  [['-t', 'Q4_0', '-o', 'x.gguf', '--steps', '-3'], 2, /--steps/],
  [['-t', 'Q4_0', '-o', 'x.gguf', '--steps', '3', '--time', '3s'], 2, /--time and --steps/],
  [['-t', 'Q4_0', '-o', 'x.gguf', '--time', 'soon'], 2, /90s, 10m or 1\.5h/],
  [['-t', 'Q4_0', '-o', 'x.gguf', '--context', '9999'], 2, /--context 9999/],
  [['-t', 'Q4_0', '-o', 'x.gguf', '--colour'], 2, /--colour/],
  [['-t', 'Q4_0', '-o', 'no-such-folder/x.gguf'], 1, /no-such-folder/],
  [['-t', 'Q4_0', '-o', 'x.gguf', '-d', 'no-such-text.txt'], 1, /no-such-text\.txt/],
])('wrong use %j: one line and exit code %i', async (args, exit, line) => {
  const { code, stdout, stderr } = await typed(model, ...args)
  expect(stderr).toMatch(/^quench: [^\n]+\n$/)
  expect(stderr).toMatch(line)
  expect({ code, stdout }).toEqual({ code: exit, stdout: '' })
})

test('a damaged model and one of another architecture are refused in one line', async () => {
  const damaged = join(folder, 'damaged.gguf')
  await writeFile(damaged, (await readFile(model)).subarray(0, 5000))
  const first = await typed(damaged, '-t', 'Q4_0', '-o', join(folder, 'x.gguf'))
  expect(first.code).toBe(1)
  expect(first.stderr).toMatch(/^quench: .*damaged\.gguf[^\n]*\n$/)
  const other = join(folder, 'other.gguf')
  const bytes = await readFile(model)
  bytes.write('mamba', bytes.indexOf('llama', 40))
  await writeFile(other, bytes)
  const second = await typed(other, '-t', 'Q4_0', '-o', join(folder, 'x.gguf'))
  expect(second).toMatchObject({ code: 1, stdout: '' })
  expect(second.stderr).toMatch(/^quench: .*other\.gguf: [^\n]*mamba[^\n]*llama[^\n]*\n$/)
})
