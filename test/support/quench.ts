/** Runs the command as it is typed. */
import { spawn } from 'node:child_process'
import { setTimeout } from 'node:timers/promises'
import { compiled } from './compiled.js'

export interface Ran {
  code: number | null
  stdout: string
  stderr: string
}

/** What is on standard error besides the lines of a work that takes long, which depends on how busy the machine is. */
export const withoutProgress = (stderr: string): string =>
  stderr.replace(/^quench: [^\n]* {2}\d+ %[^\n]*\n/gm, '')

interface Signal {
  readonly name: NodeJS.Signals
  /** Looked at every few milliseconds while the command runs; the signal is sent as soon as it is true. */
  readonly when: () => boolean
  /** More in the environment of the command. */
  readonly env?: NodeJS.ProcessEnv
}

/** `quench ...args` with its output on pipes. */
export async function quench(...args: string[]): Promise<Ran> {
  const { signal: _, ...ran } = await run(args)
  return ran
}

/** The same with more in its environment; undefined takes a variable away. */
export async function quenchWith(env: NodeJS.ProcessEnv, ...args: string[]): Promise<Ran> {
  const { signal: _, ...ran } = await run(args, undefined, env)
  return ran
}

/** What `--json` prints where a command fails. */
export const jsonError = (message: string, exitCode: number): string =>
  `${JSON.stringify({ error: { message, exitCode } }, undefined, 2)}\n`

/** `quench ...args`, to which a signal is sent in a state that it is in, and the signal that has ended it. */
export const quenchUntil = (
  signal: Signal,
  ...args: string[]
): Promise<Ran & { signal: NodeJS.Signals | null }> => run(args, signal, signal.env)

async function run(
  args: string[],
  wanted?: Signal,
  env: NodeJS.ProcessEnv = {},
): Promise<Ran & { signal: NodeJS.Signals | null }> {
  const child = spawn(process.execPath, [compiled('cli/main.js'), ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      npm_command: undefined,
      NO_COLOR: undefined,
      FORCE_COLOR: undefined,
      COLUMNS: undefined,
      ...env,
    },
  })
  const ran: Ran = { code: null, stdout: '', stderr: '' }
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    ran.stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    ran.stderr += text
  })
  const ended = new Promise<Ran & { signal: NodeJS.Signals | null }>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) =>
      resolve({ ...ran, stderr: withoutProgress(ran.stderr), code, signal }),
    )
  })
  while (wanted && child.exitCode === null && child.signalCode === null) {
    if (wanted.when()) {
      child.kill(wanted.name)
      break
    }
    await setTimeout(2)
  }
  return ended
}

/** Whether a file has changed so often since this was made; a change that comes right after another may go unseen. */
export function changes(count: number, stateOf: () => string): () => boolean {
  let [last, seen] = [stateOf(), 0]
  return () => {
    const now = stateOf()
    if (now !== last) seen++
    last = now
    return seen >= count
  }
}
