import { parseArgs } from 'node:util'
import { train } from '../src/train/train.js'

const { values: v } = parseArgs({
  options: {
    type: { type: 'string', default: 'Q4_0' },
    steps: { type: 'string', default: '10' },
    wr: { type: 'string' },
    sr: { type: 'string' },
    data: { type: 'string' },
    tokens: { type: 'string', default: '16384' },
    model: { type: 'string', default: '/tmp/mid.gguf' },
    ctx: { type: 'string' },
    batch: { type: 'string' },
    resume: { type: 'boolean' },
  },
})
const t0 = performance.now()
let last = ''
const r = await train({
  input: v.model!,
  output: `/tmp/out-${v.type}.gguf`,
  type: v.type!,
  steps: +v.steps!,
  tokens: +v.tokens!,
  ...(v.resume && { resume: true }),
  ...(v.ctx && { context: +v.ctx }),
  ...(v.batch && { batch: +v.batch }),
  ...(v.data && { data: [v.data] }),
  ...(v.wr && { weightRate: +v.wr }),
  ...(v.sr && { scaleRate: +v.sr }),
  onProgress: (e) => {
    if (e.stage !== last) {
      console.log(e.stage, ((performance.now() - t0) / 1000).toFixed(1))
      last = e.stage
    }
  },
})
console.log(
  JSON.stringify({ ...r, total: (performance.now() - t0) / 1000, rss: process.memoryUsage().rss / 1e6 }),
)
