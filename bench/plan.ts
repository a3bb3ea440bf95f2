/**
 * Compares the plan of a block-wise run with the actual cost of one block: time, tokens per second and memory. Stops after the
 * first block and removes all files. Plans again at the end: if the two plans differ, other processes loaded the machine.
 *
 *   npx tsx scripts/random-model.ts 1.1B random-1.1b.gguf
 *   npx tsx bench/plan.ts random-1.1b.gguf 4GB [type = Q4_0] [calibration = 8192] [text = models/quench-5m.test.txt]
 */

import { rm } from 'node:fs/promises'
import { bytes } from '../src/cli/options.js'
import { duration } from '../src/cli/terminal/progress.js'
import type { Plan } from '../src/config/plan.js'
import { humanBytes } from '../src/format.js'
import { train } from '../src/train/train.js'

const [input, allowed, type = 'Q4_0', calibration = '8192', text = 'models/quench-5m.test.txt'] =
  process.argv.slice(2)
if (!input || !allowed) {
  console.error('usage: npx tsx bench/plan.ts MODEL.gguf MEMORY [TYPE [CALIBRATION [TEXT]]]')
  process.exit(2)
}
const output = `${input}.plan.gguf`

/** Plans, and then runs to the end of the first block unless `planOnly`. */
async function run(
  planOnly: boolean,
): Promise<{ plan: Plan; planned: number; seconds: number; layers: number }> {
  const stop = new AbortController()
  const began = performance.now()
  const made: { plan?: Plan; planned: number; seconds: number; layers: number } = {
    planned: 0,
    seconds: 0,
    layers: 1,
  }
  let entered: number | undefined
  try {
    await train({
      input,
      output,
      type,
      data: [text],
      method: 'blockwise',
      calibration: Number(calibration),
      memory: bytes(allowed),
      signal: stop.signal,
      onPlan: (plan) => {
        made.plan = plan
        made.planned = (performance.now() - began) / 1000
        if (planOnly) stop.abort()
      },
      onProgress: ({ stage, done, total }) => {
        if (stage !== 'blockwise') return
        made.layers = total
        entered ??= performance.now()
        if (done < 1) return
        made.seconds ||= (performance.now() - entered) / 1000
        stop.abort()
      },
    })
  } catch (error) {
    if (!stop.signal.aborted) throw error
  } finally {
    await rm(`${output}.blocks`, { recursive: true, force: true })
  }
  if (!made.plan) throw new Error('there was no plan')
  return { ...made, plan: made.plan }
}

const { plan, planned, seconds, layers } = await run(false)
const peak = process.resourceUsage().maxRSS * 1024
const again = await run(true)
const [stage, later] = [plan.stages[0], again.plan.stages[0]]
const change = (measured: number, plan: number): string => `${(100 * (measured / plan - 1)).toFixed(1)} %`
const tokensPerSecond = Number(calibration) / (seconds * layers)
console.log(`${input}, ${type}, ${calibration} tokens, ${allowed} allowed; planned in ${planned.toFixed(1)} s
| | planned | measured on one block | more | planned again after it |
|---|---:|---:|---:|---:|
| one of ${layers} blocks, s | ${(stage.seconds / layers).toFixed(1)} | ${seconds.toFixed(1)} | ${change(seconds, stage.seconds / layers)} | ${(later.seconds / layers).toFixed(1)} |
| all blocks | ${duration(stage.seconds)} | ${duration(seconds * layers)} | | ${duration(later.seconds)} |
| tokens/s | ${stage.tokensPerSecond.toFixed(2)} | ${tokensPerSecond.toFixed(2)} | ${change(tokensPerSecond, stage.tokensPerSecond)} | ${later.tokensPerSecond.toFixed(2)} |
| memory | ${humanBytes(stage.bytes)} | ${humanBytes(peak)} | ${change(peak, stage.bytes)} | |`)
if (peak > plan.memory) throw new Error(`${allowed} were not kept`)
