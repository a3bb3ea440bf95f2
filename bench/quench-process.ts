/** The built command in a process of its own, for benches: seconds, and the peak of its memory. */
import { spawn } from 'node:child_process'
import { resolve } from 'node:path'
import type { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'

/** Tells the peak of its memory, in KiB, as it ends. */
const telling =
  'data:text/javascript,import{writeSync}from"node:fs";process.on("exit",()=>writeSync(3,String(process.resourceUsage().maxRSS)))'

/** @returns seconds, and bytes of memory */
export async function quench(...args: string[]): Promise<{ seconds: number; peak: number }> {
  const start = performance.now()
  const child = spawn(
    process.execPath,
    ['--import', telling, resolve(import.meta.dirname, '../dist/cli/main.js'), ...args],
    { stdio: ['ignore', 'ignore', 'pipe', 'pipe'] },
  )
  const [, , errors, told] = child.stdio as Readable[]
  const [code, stderr, kib] = await Promise.all([
    new Promise((done) => child.once('close', done)),
    text(errors),
    text(told),
  ])
  if (code !== 0) throw new Error(`quench ${args.join(' ')} ended with ${code}\n${stderr.slice(-1000)}`)
  return { seconds: (performance.now() - start) / 1000, peak: 1024 * Number(kib) }
}
