/** Work in a process of its own: whatever it does, the caller gets an answer and goes on. */
import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { Sandbox } from '../../src/sandbox.js'

const sandboxes: Sandbox<string, unknown>[] = []
const open = (input: string, timeout = 300_000): Sandbox<string, unknown> => {
  const sandbox = new Sandbox<string, unknown>('../support/odd-worker', import.meta.url, input, timeout)
  sandboxes.push(sandbox)
  return sandbox
}
afterEach(() => {
  for (const sandbox of sandboxes.splice(0)) sandbox.close()
})

test('answers, and what keeps it from one', async () => {
  const sandbox = open('')
  const first = await sandbox.ask('hello')
  expect(first).toMatchObject({ result: { request: 'hello' } })
  expect(await sandbox.ask('print')).toEqual({ result: undefined })
  expect(await sandbox.ask('sentence')).toEqual({ problem: 'it is no good' })
  await expect(sandbox.ask('bug')).rejects.toThrow(/^not a function$/)
  expect(await sandbox.ask('hello')).toEqual(first)
})

test('what ends the process ends nothing else, and the next request has a new one', async () => {
  const sandbox = open('')
  for (const request of ['abort', 'memory']) {
    expect(await sandbox.ask(request)).toEqual({ problem: 'it takes too much memory' })
    expect(await sandbox.ask('hello')).toMatchObject({ result: { request: 'hello' } })
  }
})

test('what never ends is ended, without a new process', async () => {
  const sandbox = open('', 300)
  const hello = await sandbox.ask('hello')
  expect(await sandbox.ask('pattern')).toEqual({ problem: 'it takes more than 0.3 s' })
  expect(await sandbox.ask('hello')).toEqual(hello)
})

test('a file that is no good at the start', async () => {
  await expect(open('bad file').ask('hello')).rejects.toThrow('a.gguf: it is no good')
})

test('the process ends with its parent, even if that is killed', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'quench-sandbox-'))
  try {
    const file = join(folder, 'pid')
    const module = JSON.stringify(new URL('../../src/sandbox.ts', import.meta.url).href)
    const code =
      `import { Sandbox } from ${module}\n` +
      `new Sandbox('../support/odd-worker', ${JSON.stringify(import.meta.url)}, ${JSON.stringify(file)}, 2000).ask('pattern')`
    const parent = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', code], {
      stdio: 'ignore',
    })
    const ended = new Promise((resolve) => parent.once('exit', resolve))
    const pid = await until(async () => Number(await readFile(file, 'utf8').catch(() => '')) || undefined)
    parent.kill('SIGKILL')
    await ended
    await until(async () => !isAlive(pid) || undefined)
  } finally {
    await rm(folder, { recursive: true })
  }
})

/** Waits for something that is there. */
async function until<T>(look: () => Promise<T | undefined>): Promise<T> {
  for (;;) {
    const found = await look()
    if (found !== undefined) return found
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
