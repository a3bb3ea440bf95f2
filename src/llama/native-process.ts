/**
 * libllama in a separate process. A failed assert ends the process, and no list of checks protects against all untrusted
 * files, so a file is first tried here. One such process serves all requests, one at a time; if it crashes, another takes its
 * place. It ends with this process, or after a second without work.
 */

import { type ChildProcess, fork } from 'node:child_process'
import type { Socket } from 'node:net'
import { QuenchError } from '../errors.js'
import { writers } from '../files.js'
import { oneLine } from '../format.js'
import { processEntry } from '../workers.js'
import type { NativeWork, WorkerAnswer } from './native-work.js'

const idleMs = 1000
/** Limit of the output kept from before a crash, in characters. */
const outputLimit = 2 ** 16

type Result<K extends keyof NativeWork> = Awaited<ReturnType<NativeWork[K]>>

interface Job {
  readonly kind: keyof NativeWork
  readonly input: unknown
  readonly resolve: (result: Result<keyof NativeWork>) => void
  readonly reject: (error: Error) => void
}

let running: NativeProcess | undefined

/**
 * Does work of `native-worker.ts` in the other process.
 * @returns its result; a text is the reason of a failure: llama.cpp's, or how the process crashed
 * @throws QuenchError if the libraries are missing or no process can be started
 */
export function inNativeProcess<K extends keyof NativeWork>(
  kind: K,
  input: Parameters<NativeWork[K]>[0],
): Promise<Result<K> | string> {
  return new Promise((resolve, reject) =>
    submit({ kind, input, resolve: (result) => resolve(result as Result<K>), reject }),
  )
}

/** Starts the process before there is work for it, so that it has loaded the libraries by then. */
export function startNativeProcess(): void {
  running ??= new NativeProcess()
}

function submit(job: Job): void {
  if (!running?.open) running = new NativeProcess()
  running.add(job)
}

class NativeProcess {
  /** Whether it accepts more jobs. */
  open = true
  private readonly child: ChildProcess
  private readonly jobs: Job[] = []
  private output = ''
  private idle: NodeJS.Timeout | undefined

  constructor() {
    const { module, execArgv } = processEntry('./native-worker', import.meta.url)
    this.child = fork(module, {
      execArgv,
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      serialization: 'advanced', // for typed arrays
      env: { ...process.env, GGML_NO_BACKTRACE: '1' }, // otherwise a failed assert starts a debugger
    })
    writers.add(this.kill)
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.output = (this.output + text).slice(-outputLimit)
    })
    this.child.on('message', (answer: WorkerAnswer) => this.answered(answer))
    this.child.on('error', (error) => this.failed(error))
    this.child.once('close', (code, signal) => this.ended(signal ?? `exit code ${code}`))
    this.keepParentAlive(false)
  }

  private readonly kill = (): void => {
    this.child.kill('SIGKILL')
  }

  add(job: Job): void {
    clearTimeout(this.idle)
    this.jobs.push(job)
    if (this.jobs.length > 1) return
    this.keepParentAlive(true)
    this.start(job)
  }

  private start({ kind, input }: Job): void {
    this.output = ''
    this.child.send({ kind, input }, () => {}) // an error means that it has ended, which `ended` handles
  }

  private answered(answer: WorkerAnswer): void {
    const job = this.jobs.shift()
    if (!('error' in answer)) job?.resolve(answer.result)
    else job?.reject(answer.expected ? new QuenchError(answer.error) : new Error(answer.error))
    if (this.jobs.length > 0) this.start(this.jobs[0])
    else this.rest()
  }

  private rest(): void {
    this.keepParentAlive(false)
    this.idle = setTimeout(() => {
      this.open = false
      this.child.disconnect()
    }, idleMs).unref()
  }

  private keepParentAlive(yes: boolean): void {
    for (const handle of [this.child, this.child.channel, this.child.stderr as Socket | null])
      if (yes) handle?.ref()
      else handle?.unref()
  }

  /** The first job ended the process; the others go to the next one. */
  private ended(how: string): void {
    this.open = false
    writers.delete(this.kill)
    clearTimeout(this.idle)
    const [first, ...others] = this.jobs.splice(0)
    first?.resolve(crashReason(this.output, how))
    for (const job of others) submit(job)
  }

  private failed(error: Error): void {
    if (this.child.pid !== undefined) return // it started, so `ended` follows
    this.open = false
    const problem = `a process for llama.cpp cannot be started: ${oneLine(error.message)}`
    for (const job of this.jobs.splice(0)) job.reject(new QuenchError(problem))
  }
}

/** Why the process ended, from the last output of ggml or the C++ runtime. @param how signal or exit code */
function crashReason(output: string, how: string): string {
  const [, at, check] = /([\w.-]+:\d+): GGML_ASSERT\((.*)\) failed/.exec(output) ?? []
  if (check !== undefined) return oneLine(`its check "${check}" failed (${at})`)
  const [, exception] = /what\(\):\s+(.*)/.exec(output) ?? []
  if (exception !== undefined) return oneLine(exception)
  const [, where, abort] = /([\w.-]+\.(?:c|cpp|cc|h|hpp):\d+): (.+)/.exec(output) ?? []
  if (abort !== undefined) return oneLine(`${abort} (${where})`)
  return `it crashed (${how})${how === 'SIGKILL' ? '; the system may have run out of memory' : ''}`
}
