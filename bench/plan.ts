/**
 * What the plan of a block-wise run says before it starts, beside what one block then takes: time, tokens per second and
 * memory. Stops after the first block and leaves nothing behind.
 *
 *   npx tsx scripts/random-model.ts 1.1B random-1.1b.gguf
 *   npx tsx bench/plan.ts random-1.1b.gguf 4GB [type = Q4_0] [calibration = 8192] [text = models/quench-5m.test.txt]
 */
import { rm } from 'node:fs/promises'
import { memorySize } from '../src/cli/options.js'
import { duration } from '../src/cli/progress.js'
import { humanBytes } from '../src/format.js'
import type { Plan } from '../src/train/plan.js'
import { train } from '../src/train/train.js'

const [input, allowed, type = 'Q4_0', calibration = '8192', text = 'models/quench-5m.test.txt'] =
  process.argv.slice(2)
if (!input || !allowed) {
  console.error('usage: npx tsx bench/plan.ts MODEL.gguf MEMORY [TYPE [CALIBRATION [TEXT]]]')
  process.exit(2)
}
const output = `${input}.plan.gguf`
const stop = new AbortController()
const began = performance.now()
let plan: Plan | undefined
let planned = 0
let entered: number | undefined
let seconds: number | undefined
let layers = 1
try {
  await train({
    input,
    output,
    type,
    data: [text],
    method: 'blockwise',
    calibration: Number(calibration),
    memory: memorySize(allowed),
    signal: stop.signal,
    onPlan: (made) => {
      plan = made
      planned = (performance.now() - began) / 1000
    },
    onProgress: ({ stage, done, total }) => {
      if (stage !== 'blockwise') return
      layers = total
      entered ??= performance.now()
      if (done < 1) return
      seconds ??= (performance.now() - entered) / 1000
      stop.abort()
    },
  })
} catch (error) {
  if (!stop.signal.aborted) throw error
} finally {
  await rm(`${output}.blocks`, { recursive: true, force: true })
}
if (!plan || seconds === undefined) throw new Error('the model has too few blocks')
const [stage] = plan.stages
const peak = process.resourceUsage().maxRSS * 1024
const change = (measured: number, plan: number): string => `${(100 * (measured / plan - 1)).toFixed(1)} %`
const tokensPerSecond = Number(calibration) / (seconds * layers)
console.log(`${input}, ${type}, ${calibration} tokens, ${allowed} allowed; planned in ${planned.toFixed(1)} s
| | planned | measured on one block | more |
|---|---:|---:|---:|
| one of ${layers} blocks, s | ${(stage.seconds / layers).toFixed(1)} | ${seconds.toFixed(1)} | ${change(seconds, stage.seconds / layers)} |
| all blocks | ${duration(stage.seconds)} | ${duration(seconds * layers)} | |
| tokens/s | ${stage.tokensPerSecond.toFixed(2)} | ${tokensPerSecond.toFixed(2)} | ${change(tokensPerSecond, stage.tokensPerSecond)} |
| memory | ${humanBytes(stage.bytes)} | ${humanBytes(peak)} | ${change(peak, stage.bytes)} |`)
if (peak > plan.memory) throw new Error(`${allowed} were not kept`)
