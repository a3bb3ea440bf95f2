/** Commands that are told to end, and commands whose output nobody takes. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { compiled } from '../support/compiled.js'
import { quench, withoutProgress } from '../support/quench.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'

const path = (name: string) => fileURLToPath(new URL(`../../${name}`, import.meta.url))
const shipped = path('models/quench-5m-f16.gguf')
const heldOut = path('models/quench-5m.test.txt')

let folder: string
let tiny: string
let text: string
const file = (name: string) => join(folder, name)
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-'))
  tiny = file('tiny.gguf')
  text = file('text.txt')
  await writeTinyGguf(tiny)
  await writeFile(text, 'the sea and the stone in the rain, and on and on; '.repeat(40))
})
afterAll(() => rm(folder, { recursive: true }))

interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

const spawnQuench = (args: string[]) =>
  spawn(process.execPath, [compiled('cli/main.js'), ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })

/** Starts the command and calls `act` for every piece of its output. */
function start(args: string[], act: (child: ChildProcess, stdout: string) => void): Promise<Ended> {
  const child = spawnQuench(args)
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (more: string) => {
    stdout += more
    act(child, stdout)
  })
  child.stderr.setEncoding('utf8').on('data', (more: string) => {
    stderr += more
  })
  return new Promise((resolve) =>
    child.once('close', (code) => resolve({ code, stdout, stderr: withoutProgress(stderr) })),
  )
}

/** Sends signals once the plan is told. */
const afterPlan =
  (...signals: NodeJS.Signals[]) =>
  (child: ChildProcess, stdout: string) => {
    if (stdout.includes('in all')) for (const signal of signals.splice(0)) child.kill(signal)
  }

/** Training that would take hours. */
const training = (output: string) => [
  ...['train', tiny, '-t', 'Q4_0', '-o', output, '-d', text, '-c', '64', '--batch', '64'],
  ...['--validation', '192', '--calibration', '64', '--steps', '10000000', '--checkpoint-every', '1000s'],
]

test.each([
  ['SIGHUP', 143],
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const)('%s stops training at a good point, and it can go on', async (signal, exit) => {
  const output = file(`${signal}.gguf`)
  const { code, stderr } = await start(training(output), afterPlan(signal))
  expect(stderr).toMatch(/^quench: stopping [^\n]*\nquench: stopped[^\n]*--resume goes on from there\n$/)
  expect(code).toBe(exit)
  const left = (await readdir(folder)).filter((name) => name.includes(signal))
  for (const name of left) expect([`${signal}.gguf.checkpoint`, `${signal}.gguf.blocks`]).toContain(name)
})

test('a second signal ends training at once', async () => {
  const { code, stderr } = await start(training(file('twice.gguf')), afterPlan('SIGINT', 'SIGTERM'))
  expect(stderr).toMatch(/^quench: stopping at [^\n]*\n$/)
  expect([130, 143]).toContain(code) // which of two pending signals is delivered first is the system's choice
})

test('a file that is being written is gone when its command is ended', async () => {
  const q4 = file('q4.gguf')
  await quench('quantize', shipped, '-t', 'Q4_0', '-o', q4)
  const before = await readdir(folder)
  const args = ['eval', q4, '-r', shipped, '-d', heldOut, '--threads', '1', '--save-reference', file('saved')]
  const child = spawnQuench(args)
  const ended = once(child, 'close')
  while (child.exitCode === null && (await readdir(folder)).length === before.length) await setTimeout(5)
  child.kill('SIGTERM')
  expect((await ended)[0]).toBe(143)
  expect(await readdir(folder)).toEqual(before)
})

test('compare leaves what it has finished', async () => {
  const made = file('made')
  const args = ['compare', shipped, '--types', 'Q4_0,Q2_K', '-d', heldOut, '-r', '0']
  const ended = await start(
    [...args, '-f', made, '--store', file('store.db'), '-o', file('report.html')],
    (child, stdout) => {
      if (stdout.includes('making Q2_K')) child.kill('SIGINT')
    },
  )
  expect(ended).toMatchObject({ code: 130, stderr: '' })
  for (const name of await readdir(made))
    expect(name).toMatch(/^quench-5m-(imatrix|Q(4_0|2_K)(-imatrix)?)\.gguf$/)
  expect((await readdir(folder)).filter((name) => name.includes('report'))).toEqual([])
})

test('a reader that goes away ends no training', async () => {
  const output = file('unread.gguf')
  const args = ['train', tiny, '-t', 'Q4_0', '-o', output, '-d', text, '-c', '64', '--batch', '64']
  const { code, stderr } = await start([...args, '--calibration', '64', '--steps', '2'], (child) =>
    child.stdout?.destroy(),
  )
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect((await readFile(output)).length).toBeGreaterThan(1000)
})
