/** PyTorch in a separate process: its environment, the model in the format it reads, and requests and replies by line. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join as joinPath } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { cpu } from '../../src/backends/cpu/cpu.js'
import type { Shape } from '../../src/graph/index.js'
import type { DecoderConfig } from '../../src/models/decoder.js'
import { modelTensors } from '../../src/models/weights.js'
import { threadCount } from '../../src/threads.js'
import { clip, rates, type Trainer } from '../student.js'

type Reply = Record<string, string | number>

/** Runs a command to its end, with its output on standard error. Returns whether it succeeded. */
async function ran(command: string, args: readonly string[]): Promise<boolean> {
  const child = spawn(command, args, { stdio: ['ignore', 2, 2] })
  try {
    const [code] = await once(child, 'exit')
    return code === 0
  } catch {
    return false // no such command
  }
}

/**
 * The Python of an environment with PyTorch, which is created if missing; prints a sentence and returns undefined if that
 * fails.
 */
export async function pythonWithTorch(folder: string): Promise<string | undefined> {
  const python = joinPath(folder, 'bin', 'python')
  if (existsSync(python) && (await ran(python, ['-c', 'import torch, numpy']))) return python
  console.error(`PyTorch is being installed into ${folder}`)
  if (!(await ran('python3', ['-m', 'venv', folder]))) {
    console.error(
      'There is no Python 3 with venv here; install it (python3-venv) to compare training with PyTorch.',
    )
    return undefined
  }
  if (await ran(python, ['-m', 'pip', 'install', '--quiet', 'torch>=2.6', 'numpy'])) return python
  console.error('pip could not install torch and numpy; see above, and try again.')
  return undefined
}

/** Writes the input of step.py: model.json and values.f32. */
export async function writeModel(
  folder: string,
  { source, network, parameters }: Trainer,
  windows: readonly Int32Array[],
): Promise<void> {
  const parts: Float32Array[] = []
  let end = 0
  const place = (values: Float32Array, shape: Shape = [values.length]) => {
    parts.push(values)
    end += values.length
    return { start: end - values.length, shape }
  }
  const config = network.config as DecoderConfig
  const [{ attention }] = config.blocks
  const teacher = Array.from(modelTensors(source.architecture, config), ([name, shape]) => [
    name,
    place(source.weights.get(name) as Float32Array, shape),
  ])
  const student: [name: string, described: object][] = []
  for (const { name, shape, format, latents } of parameters) {
    const placed: Record<string, object> = {}
    for (const [key, { kind, values, unit }] of Object.entries(latents))
      placed[key] = { kind, values: place(await cpu.download(values)), unit: place(await cpu.download(unit)) }
    student.push([name, { shape, grid: format?.grid, latents: placed }])
  }
  const described = {
    threads: threadCount(),
    layers: config.layers,
    width: config.width,
    heads: attention.heads,
    kvHeads: attention.kvHeads,
    frequencies: Array.from(attention.rope.frequencies),
    normEpsilon: config.normEpsilon,
    output: config.tied ? 'token_embd.weight' : 'output.weight',
    tokens: windows.map((window) => Array.from(window)),
    teacher: Object.fromEntries(teacher),
    student: Object.fromEntries(student),
    clip,
    ...rates,
  }
  await writeFile(joinPath(folder, 'model.json'), JSON.stringify(described))
  await writeFile(joinPath(folder, 'values.f32'), parts)
}

/** Runs step.py on a folder. */
export class PyTorch {
  private readonly child: ChildProcess
  private readonly lines: AsyncIterator<string>
  /** Versions, once it has started. */
  readonly started: Promise<Reply>

  constructor(python: string, folder: string) {
    const script = fileURLToPath(new URL('step.py', import.meta.url))
    this.child = spawn(python, [script, folder], {
      stdio: ['pipe', 'pipe', 2],
      // Otherwise threads on the same core wait for each other for whole time slices whenever the machine is busy.
      env: { OMP_PROC_BIND: 'true', ...process.env },
    })
    if (!this.child.stdout) throw new Error('no standard output')
    this.lines = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]()
    this.started = this.reply()
  }

  ask(request: Reply): Promise<Reply> {
    this.child.stdin?.write(`${JSON.stringify(request)}\n`)
    return this.reply()
  }

  private async reply(): Promise<Reply> {
    const { value, done } = await this.lines.next()
    if (done) throw new Error('PyTorch has stopped; see its message above')
    return JSON.parse(value)
  }

  stop(): void {
    this.child.stdin?.end()
  }
}
