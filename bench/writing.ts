/**
 * Times text that a model writes itself beside what the machine's memory allows: for every token of all texts side by side, the weights
 * are read once. Then the same beside busy processes. Also prints the operations a second, since many texts at once are bound by those.
 *
 *   npx tsx bench/writing.ts [model = 1.1B, or a file] [texts = as many as quench writes side by side] [tokens of each = 12] [busy processes = threads]
 *
 * `1.1B` is a model of random weights, stored as F16. Bandwidth is that of comparing two arrays of 256 MiB on every thread.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { statSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { LlamaModel, sampleSequences, sideBySide } from '../src/llama/index.js'
import { threadCount } from '../src/threads.js'
import { modelPath } from './student.js'

const [model = '1.1B', texts = '', length = '12', busy = String(threadCount())] = process.argv.slice(2)

const comparing = `
  const { parentPort } = require('node:worker_threads')
  const [a, b] = [Buffer.alloc(2 ** 28, 1), Buffer.alloc(2 ** 28, 1)]
  parentPort.on('message', () => {
    for (let round = 0; round < 4; round++) Buffer.compare(a, b)
    parentPort.postMessage(8 * 2 ** 28)
  })`

/** Bytes a second that all threads together read. */
async function bandwidth(): Promise<number> {
  const workers = Array.from({ length: threadCount() }, () => new Worker(comparing, { eval: true }))
  const read = async (): Promise<number> => {
    const start = performance.now()
    const bytes = await Promise.all(
      workers.map(async (worker) => {
        worker.postMessage('')
        return ((await once(worker, 'message')) as [number])[0]
      }),
    )
    return bytes.reduce((a, b) => a + b, 0) / ((performance.now() - start) / 1000)
  }
  await read() // also waits for the threads to start
  const most = Math.max(await read(), await read())
  await Promise.all(workers.map((worker) => worker.terminate()))
  return most
}

/** Tokens a second of texts of which all tokens but the first are written. */
async function speed(loaded: LlamaModel, sequences: number): Promise<number> {
  const start = performance.now()
  await sampleSequences(loaded, { sequences, length: Number(length), seed: 1, parallel: sequences })
  return (sequences * (Number(length) - 1)) / ((performance.now() - start) / 1000)
}

async function measure(path: string): Promise<void> {
  const bytes = statSync(path).size
  const loaded = await LlamaModel.load(path)
  try {
    const sequences = texts === '' ? sideBySide(loaded, Number(length)) : Number(texts)
    const most = await bandwidth()
    const limit = (sequences * most) / bytes
    console.log(
      `${model}: ${(bytes / 1e9).toFixed(2)} GB, ${threadCount()} threads, ${(most / 1e9).toFixed(1)} GB/s: at most ${limit.toFixed(0)} tokens/s of ${sequences} texts, ${(most / bytes).toFixed(1)} of one`,
    )
    const say = (what: string, tokens: number, count: number): void =>
      console.log(
        `${what}: ${tokens.toFixed(1)} tokens/s, ${((100 * tokens * bytes) / (count * most)).toFixed(0)} % of that, ${((tokens * bytes) / 1e9).toFixed(0)} GFLOP/s`,
      )
    await speed(loaded, 1)
    say('one text', await speed(loaded, 1), 1)
    say(`${sequences} texts`, await speed(loaded, sequences), sequences)
    const others = Array.from({ length: Number(busy) }, () =>
      spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' }),
    )
    try {
      say(`${sequences} texts beside ${busy} busy processes`, await speed(loaded, sequences), sequences)
    } finally {
      for (const other of others) other.kill('SIGKILL')
    }
  } finally {
    loaded.dispose()
  }
}

const folder = await mkdtemp(join(tmpdir(), 'quench-writing-'))
try {
  await measure(model.endsWith('.gguf') ? model : modelPath(model, folder))
} finally {
  await rm(folder, { recursive: true, force: true })
}
