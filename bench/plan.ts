/**
 * What the plan of a block-wise run says before it starts, beside what one block then takes: time, tokens per second and
 * memory. Stops after the first block and leaves nothing behind.
 *
 *   npx tsx scripts/random-model.ts 1.1B random-1.1b.gguf
 *   npx tsx bench/plan.ts random-1.1b.gguf 4GB [type = Q4_0] [calibration = 8192] [text = README.md]
 */
import { rm } from 'node:fs/promises'
import { memorySize } from '../src/cli/options.js'
import { duration } from '../src/cli/progress.js'
import { humanBytes } from '../src/format.js'
import type { Plan } from '../src/train/plan.js'
import { train } from '../src/train/train.js'

const [input, allowed, type = 'Q4_0', calibration = '8192', text = 'README.md'] = process.argv.slice(2)
if (!input || !allowed) {
  console.error('usage: npx tsx bench/plan.ts MODEL.gguf MEMORY [TYPE [CALIBRATION [TEXT]]]')
  process.exit(2)
}
const output = `${input}.plan.gguf`
const stop = new AbortController()
const began = performance.now()
let plan: Plan | undefined
let entered: number | undefined
let seconds: number | undefined
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
      console.log(`planned in ${((performance.now() - began) / 1000).toFixed(1)} s`)
    },
    onProgress: ({ stage, done }) => {
      if (stage !== 'blockwise') return
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
console.log(plan, seconds, duration(stage.seconds), humanBytes(process.resourceUsage().maxRSS * 1024))
