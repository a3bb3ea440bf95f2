/**
 * Compares all methods on the shipped model: the share of PTQ's KL divergence that each recovers on held-out text, as run by
 * libllama, and its duration, in one run.
 *
 *   npx tsx bench/methods.ts [distill steps = 300] [scales steps = 20] [types = Q4_0,Q3_K_M,Q2_K]
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TrainOptions } from '../src/config/options.js'
import { readTexts } from '../src/data/texts.js'
import { evaluateFiles, recovered } from '../src/evaluate/index.js'
import { quantizeFile } from '../src/quantize/ptq.js'
import { train } from '../src/train/train.js'

const model = 'models/quench-5m-f16.gguf'
const text = 'models/quench-5m.test.txt'
const [distillSteps, scalesSteps] = [Number(process.argv[2] ?? 300), Number(process.argv[3] ?? 20)]
const types = (process.argv[4] ?? 'Q4_0,Q3_K_M,Q2_K').split(',')
const methods: { name: string; options: Partial<TrainOptions> }[] = [
  { name: 'distill alone', options: { method: 'distill', calibration: 0, steps: distillSteps } },
  { name: 'blockwise', options: { method: 'blockwise' } },
  { name: 'blockwise + scales', options: { method: 'scales', steps: scalesSteps } },
  { name: 'blockwise + distill', options: { method: 'distill', steps: distillSteps } },
]

const folder = await mkdtemp(join(tmpdir(), 'quench-methods-'))
try {
  // The model writes its text once, before timing starts.
  await train({ input: model, output: join(folder, 'warm.gguf'), type: 'Q4_0', tokens: 49_152, steps: 0 })
  console.log(
    '| type | method | seconds | recovered | share of the last | of its time |\n|---|---|---:|---:|---:|---:|',
  )
  for (const type of types) {
    const ptq = join(folder, `${type}.gguf`)
    await quantizeFile(model, ptq, type)
    const made: { name: string; path: string; seconds: number }[] = []
    for (const [i, { name, options }] of methods.entries()) {
      const path = join(folder, `${type}-${i}.gguf`)
      const { seconds } = await train({ input: model, output: path, type, tokens: 49_152, ...options })
      made.push({ name, path, seconds })
    }
    const { files } = await evaluateFiles({
      reference: model,
      files: [ptq, ...made.map(({ path }) => path)],
      text: await readTexts([text]),
      maxTokens: 16_384,
    })
    const shares = files.slice(1).map((file) => recovered(file, files[0]))
    const [best, longest] = [shares.at(-1)?.mean ?? 1, made.at(-1)?.seconds ?? 1]
    for (const [i, { name, seconds }] of made.entries()) {
      const { mean, se } = shares[i]
      console.log(
        `| ${type} | ${name} | ${seconds.toFixed(0)} | ${(100 * mean).toFixed(1)} ± ${(100 * se).toFixed(1)} % | ${(100 * (mean / best)).toFixed(0)} % | ${(100 * (seconds / longest)).toFixed(0)} % |`,
      )
    }
  }
} finally {
  await rm(folder, { recursive: true, force: true })
}
