/** Runs the command as it is typed, from its TypeScript source. */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const main = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))

export interface Ran {
  code: number | null
  stdout: string
  stderr: string
}

/** What is on standard error besides the lines of a work that takes long, which depends on how busy the machine is. */
export const withoutProgress = (stderr: string): string =>
  stderr.replace(/^quench: [^\n]* {2}\d+ %[^\n]*\n/gm, '')

/** `quench ...args` with its output on pipes. */
export function quench(...args: string[]): Promise<Ran> {
  const child = spawn(process.execPath, ['--import', 'tsx', main, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const ran: Ran = { code: null, stdout: '', stderr: '' }
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    ran.stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    ran.stderr += text
  })
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => resolve({ ...ran, stderr: withoutProgress(ran.stderr), code }))
  })
}
