/** Locks between processes: the second is told who has it, and a lock ends with its process. */
import { spawnSync } from 'node:child_process'
import {
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { lockFile, lockPath, waitForLock } from '../../src/locks.js'
import { kill, source, startScript } from '../support/process.js'
import { scratchFolder } from './gguf-bytes.js'

const folder = scratchFolder()
const holding = (path: string) => `
  const { lockFile } = await import(${source('locks.js')})
  await lockFile(${JSON.stringify(path)}, 'writing it')
  console.log('locked')
  setInterval(() => {}, 1000)`

test('the second is refused with the number of the first, and the lock ends with its process', async () => {
  const path = join(folder, 'out.gguf')
  const first = await startScript(holding(path), 'locked')
  await expect(lockFile(path, 'writing this file')).rejects.toThrow(
    `${path}: another quench (process ${first.pid}) is writing this file; wait until it is done`,
  )
  await kill(first)
  expect(readFileSync(lockPath(path), 'utf8')).toBe(`quench ${first.pid}\n`)
  const lock = await lockFile(path, 'writing this file')
  expect(lock.held).toBe(true)
  expect(readFileSync(lockPath(path), 'utf8')).toBe(`quench ${process.pid}\n`)
  lock.release()
  lock.release()
  expect(readdirSync(folder)).toEqual([])
})

test('one who waits gets it when the first is killed, and is told once for whom it waits', async () => {
  const path = join(folder, 'waited.gguf')
  const first = await startScript(holding(path), 'locked')
  const told: unknown[] = []
  const waiting = waitForLock(path, (holder) => told.push(holder))
  await expect.poll(() => told).toEqual([first.pid])
  await kill(first)
  const lock = await waiting
  expect(told).toEqual([first.pid])
  lock.release()
  const again = await lockFile(path, '')
  const stop = AbortSignal.abort(new Error('stopped'))
  await expect(waitForLock(path, () => {}, stop)).rejects.toThrow('stopped')
  again.release()
})

test('one process cannot have it twice, by any name', async () => {
  const path = join(folder, 'same.gguf')
  writeFileSync(path, '')
  symlinkSync(path, join(folder, 'link.gguf'))
  const lock = await lockFile(path, 'writing this file')
  for (const name of [path, join(folder, 'link.gguf'), join(folder, '.', 'same.gguf')])
    await expect(lockFile(name, 'writing it')).rejects.toThrow(`(process ${process.pid})`)
  lock.release()
  expect(existsSync(lockPath(path))).toBe(false)
})

test('many that come and go never have it together', async () => {
  const path = join(folder, 'busy.gguf')
  let inside = 0
  let most = 0
  const visit = async () => {
    const lock = await waitForLock(path, () => {})
    most = Math.max(most, ++inside)
    await new Promise(setImmediate)
    inside--
    lock.release()
  }
  await Promise.all(Array.from({ length: 8 }, visit))
  expect(most).toBe(1)
})

test('a process that ends by itself leaves no lock, and its children do not keep it', () => {
  const path = join(folder, 'ended.gguf')
  const script = `
    const { lockFile } = await import(${source('locks.js')})
    const { spawn } = await import('node:child_process')
    await lockFile(${JSON.stringify(path)}, '')
    const child = spawn(process.execPath, ['-e', 'setTimeout(() => {}, 60000)'], { detached: true, stdio: 'ignore' })
    child.unref()
    console.log(child.pid)
    process.kill(process.pid, 'SIGKILL')`
  const run = (text: string) =>
    spawnSync(process.execPath, ['--input-type=module', '-e', text], { encoding: 'utf8' })
  const child = Number(run(script).stdout)
  try {
    const next = run(script.replace("process.kill(process.pid, 'SIGKILL')", 'process.exit(3)'))
    expect({ status: next.status, stderr: next.stderr }).toEqual({ status: 3, stderr: '' })
    process.kill(Number(next.stdout))
    expect(existsSync(lockPath(path))).toBe(false)
  } finally {
    process.kill(child)
  }
})

test('what bears the name of a lock is not written to', async () => {
  const path = join(folder, 'planted.gguf')
  const victim = join(folder, 'victim')
  writeFileSync(victim, 'a letter')
  for (const plant of [symlinkSync, linkSync]) {
    plant(victim, lockPath(path))
    const lock = await lockFile(path, '')
    lock.release()
    expect(readFileSync(victim, 'utf8')).toBe('a letter')
  }
  writeFileSync(lockPath(path), 'a letter')
  await expect(lockFile(path, '')).rejects.toThrow('this is not a lock file of quench')
  expect(readFileSync(lockPath(path), 'utf8')).toBe('a letter')
  rmSync(lockPath(path))
  mkdirSync(lockPath(path))
  await expect(lockFile(path, '')).rejects.toThrow('this is a folder')
  await expect(lockFile(join(folder, 'absent', 'out.gguf'), '')).rejects.toThrow('no such file or folder')
})
