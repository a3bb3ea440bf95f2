/**
 * Measures the benefit of training the embedding, which is the output matrix too: for the shipped model, and for its first
 * block only, in which the embedding is 40 % of all weights. Both are trained with and without it for the same number of steps
 * from the reference quantizer's codes; prints the share of the KL divergence recovered on held-out windows, and the time per
 * step.
 *
 *   npx tsx bench/embeddings.ts [steps = 60] [types = Q4_0,Q2_K]
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createGguf, Metadata, openGguf } from '../src/gguf/index.js'
import { train } from '../src/train/train.js'

const shipped = 'models/quench-5m-f16.gguf'
const steps = Number(process.argv[2] ?? 60)
const types = (process.argv[3] ?? 'Q4_0,Q2_K').split(',')

/** The same model, truncated to its first `layers` blocks. */
async function shorten(output: string, layers: number): Promise<void> {
  const gguf = await openGguf(shipped)
  const tensors = gguf.tensors.filter(({ name }) => Number(/^blk\.(\d+)\./.exec(name)?.[1] ?? 0) < layers)
  const metadata = new Metadata(output, gguf.metadata).set('llama.block_count', {
    type: 'uint32',
    value: layers,
  })
  const writer = await createGguf(output, { metadata, tensors })
  for (const tensor of tensors) await writer.write(tensor.name, await gguf.read(tensor))
  await writer.finish()
  await gguf.close()
}

const folder = await mkdtemp(join(tmpdir(), 'quench-embeddings-'))
try {
  const short = join(folder, 'one-block.gguf')
  await shorten(short, 1)
  console.log(
    '| model | type | embedding | weights trained | recovered | seconds a step |\n|---|---|---|---:|---:|---:|',
  )
  for (const [name, input] of [
    ['5 blocks', shipped],
    ['1 block', short],
  ])
    for (const type of types)
      for (const embeddings of ['yes', 'no'] as const) {
        const output = join(folder, 'out.gguf')
        const { weights, recovered, tokensPerSecond } = await train({
          ...{ input, output, type, embeddings, steps, method: 'distill', tokens: 49_152, calibration: 0 },
          checkpointEvery: Number.POSITIVE_INFINITY,
        })
        console.log(
          `| ${name} | ${type} | ${embeddings === 'yes' ? 'trains' : 'rounded'} | ${((100 * weights.trained) / weights.all).toFixed(0)} % | ${(100 * recovered).toFixed(1)} % | ${(512 / tokensPerSecond).toFixed(2)} |`,
        )
      }
} finally {
  await rm(folder, { recursive: true, force: true })
}
