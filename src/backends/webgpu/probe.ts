/** Whether a GPU can be used, tried in another process. */
import { fork } from 'node:child_process'
import { processEntry } from '../../workers.js'

/** Milliseconds. */
const timeout = 60_000

/** Why no GPU can be used, in one sentence; undefined if one can. */
export function gpuProblem(): Promise<string | undefined> {
  const { module, execArgv } = processEntry('./gpu-worker', import.meta.url)
  const child = fork(module, { execArgv, timeout, stdio: ['ignore', 'ignore', 'ignore', 'ipc'] })
  return new Promise((resolve) => {
    child.once('message', ({ problem }: { readonly problem?: string }) => resolve(problem))
    child.once('error', ({ message }) => resolve(`no GPU can be used: ${message}`))
    child.once('exit', (code, signal) =>
      resolve(`no GPU can be used: its driver ended the process that tried it (${signal ?? code})`),
    )
  })
}
