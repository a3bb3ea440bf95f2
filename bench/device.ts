/**
 * Measures training on the processor beside a GPU: tokens a second of a step end to end, and of the block-wise solution of the first
 * block. Needs Node 22.18 or newer, which runs TypeScript, and the built package (`npm run build`); nothing else.
 *
 *   node bench/device.ts [MODEL.gguf ...] [--devices cpu,webgpu] [--type Q4_0] [--batch 512] [--calibration 4096] [--steps 6] [--out FILE]
 *
 * By default the model that ships; `npx tsx scripts/random-model.ts 1.1B FILE` makes larger ones. Prints one JSON, or writes it to FILE.
 * A device that is missing has its reason in place of figures.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { cpus, tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import type * as Training from '../src/train/index.ts'

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url))
const { train } = (await import(new URL('../dist/train/index.js', import.meta.url).href)) as typeof Training

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    devices: { type: 'string', default: 'cpu,webgpu' },
    type: { type: 'string', default: 'Q4_0' },
    batch: { type: 'string', default: '512' },
    calibration: { type: 'string', default: '4096' },
    steps: { type: 'string', default: '6' },
    out: { type: 'string' },
  },
})
const [batch, calibration, steps] = [values.batch, values.calibration, values.steps].map(Number)
const models = positionals.length > 0 ? positionals : [at('../models/quench-5m-f16.gguf')]

interface Rates {
  /** Tokens a second. */
  readonly step?: number | undefined
  readonly block?: number | undefined
  readonly secondsOfStep?: number | undefined
  readonly secondsOfBlock?: number | undefined
  /** Loss of the first step, nats per token: devices agree on it. */
  readonly loss?: number | undefined
  /** Seconds of the whole command. */
  readonly seconds?: number | undefined
  readonly missing?: string
}

async function rates(input: string, device: 'cpu' | 'webgpu', folder: string): Promise<Rates> {
  const ends: number[] = []
  const losses: number[] = []
  let secondsOfBlock: number | undefined
  const began = performance.now()
  try {
    await train({
      ...{ input, output: join(folder, `${device}.gguf`), type: values.type, device },
      ...{ batch, calibration, steps, method: 'distill', general: 1 },
      ...{ tokens: Math.max(calibration, steps * batch), validation: batch, checkpointEvery: 1e9 },
      onBlock: ({ seconds }) => {
        secondsOfBlock = seconds
      },
      onProgress: ({ stage, loss }) => {
        if (stage !== 'train' || loss === undefined) return
        ends.push(performance.now())
        losses.push(loss)
      },
    })
  } catch (error) {
    return { missing: (error as Error).message }
  }
  // The first step compiles programs.
  const own = ends.slice(1).map((end, i) => (end - ends[i]) / 1000)
  const secondsOfStep = own.length > 0 ? own.toSorted((a, b) => a - b)[own.length >> 1] : undefined
  return {
    step: secondsOfStep && batch / secondsOfStep,
    block: secondsOfBlock && calibration / secondsOfBlock,
    ...{ secondsOfStep, secondsOfBlock, loss: losses[0], seconds: (performance.now() - began) / 1000 },
  }
}

const folder = await mkdtemp(join(tmpdir(), 'quench-device-'))
const results: Record<string, Record<string, Rates>> = {}
try {
  for (const model of models) {
    const own: Record<string, Rates> = {}
    for (const device of values.devices.split(',')) {
      if (device !== 'cpu' && device !== 'webgpu') throw new Error(`there is no device ${device}`)
      own[device] = await rates(model, device, folder)
    }
    results[basename(model)] = own
  }
} finally {
  await rm(folder, { recursive: true, force: true })
}
const { platform, arch, version } = process
const machine = { platform, arch, node: version, cpu: cpus()[0]?.model, threads: cpus().length }
const json = JSON.stringify({ machine, type: values.type, batch, calibration, steps, results }, null, 2)
if (values.out === undefined) console.log(json)
else await writeFile(values.out, `${json}\n`)
