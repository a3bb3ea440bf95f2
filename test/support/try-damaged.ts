/** Runs `damaged-child.ts` over many copies, and sees what it ends by and what it prints. */
import { type ChildProcess, fork } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { processEntry } from '../../src/workers.js'
import type { Tried } from './damaged-child.js'

/** What must not happen, with the number of the copy. */
interface Fault {
  readonly seed: number
  readonly kind: 'signal' | 'bug' | 'lines' | 'noise'
  readonly what: string
}

export interface DamagedRun {
  /** How many were refused by each work. */
  readonly refused: Record<string, number>
  readonly faults: readonly Fault[]
  /** Messages by how often they came, without what differs from file to file. */
  readonly messages: ReadonlyMap<string, number>
  /** Longest time that a copy took, in seconds. */
  readonly longest: number
}

/** @param seeds of the copies. @param onDone called after each */
export async function tryDamaged(
  model: string,
  seeds: readonly number[],
  onDone?: () => void,
): Promise<DamagedRun> {
  const folder = await mkdtemp(join(tmpdir(), 'quench-damaged-'))
  const refused: Record<string, number> = {}
  const faults: Fault[] = []
  const messages = new Map<string, number>()
  let longest = 0
  let child: Child | undefined
  try {
    for (const seed of seeds) {
      child ??= new Child(model, folder)
      const began = performance.now()
      const answer = await child.ask(seed)
      longest = Math.max(longest, (performance.now() - began) / 1000)
      if (typeof answer === 'string') {
        faults.push({ seed, kind: 'signal', what: answer })
        child = undefined
      } else {
        for (const bug of answer.bugs) faults.push({ seed, kind: 'bug', what: `${answer.what}: ${bug}` })
        for (const [work, message] of Object.entries(answer.errors)) {
          if (message === null) continue
          refused[work] = (refused[work] ?? 0) + 1
          if (/\n/.test(message)) faults.push({ seed, kind: 'lines', what: message })
          const short = `${work}: ${message.replaceAll(folder, '').replace(/\d+/g, 'N')}`
          messages.set(short, (messages.get(short) ?? 0) + 1)
        }
        const noise = child.takeOutput()
        if (noise !== '') faults.push({ seed, kind: 'noise', what: `${answer.what}: ${noise}` })
      }
      onDone?.()
    }
  } finally {
    child?.end()
    await rm(folder, { recursive: true })
  }
  return { refused, faults, messages, longest }
}

class Child {
  private readonly process: ChildProcess
  private output = ''

  constructor(model: string, folder: string) {
    const { module, execArgv } = processEntry('./damaged-child', import.meta.url)
    this.process = fork(module, [model, folder], { execArgv, stdio: ['ignore', 'pipe', 'pipe', 'ipc'] })
    for (const stream of [this.process.stdout, this.process.stderr])
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.output += text
      })
  }

  /** What came of a copy, or how the process ended. */
  ask(seed: number): Promise<Tried | string> {
    return new Promise((resolve) => {
      const ended = (code: number | null, signal: string | null) =>
        resolve(`${signal ?? code}: ${this.output}`)
      this.process.once('close', ended)
      this.process.once('message', (answer: Tried) => {
        this.process.off('close', ended)
        resolve(answer)
      })
      this.process.send(seed)
    })
  }

  takeOutput(): string {
    const { output } = this
    this.output = ''
    return output
  }

  end(): void {
    this.process.disconnect()
  }
}
