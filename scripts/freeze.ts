/**
 * Prints the SHA-256 of the tensor data that training makes and the divergence after every stage, for each way of training, to
 * show that a refactoring changes neither. Equal on one kind of machine with the same number of threads; compare the output of
 * two versions there.
 *
 *   npx tsx scripts/freeze.ts [--demo] > before.txt
 *
 * A small random model is trained by each method, in memory and one block at a time, without interruption and stopped in a
 * block or step and resumed. `--demo` adds the files of `quench demo`, which takes minutes.
 */

import { createHash } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { withCleanup } from '../src/cleanup.js'
import { print } from '../src/cli/terminal/print.js'
import { demo } from '../src/compare/demo.js'
import type { TrainOptions } from '../src/config/options.js'
import { openGguf } from '../src/gguf/index.js'
import { bytesOf } from '../src/plan/memory.js'
import { openSource } from '../src/student/source.js'
import { train } from '../src/train/train.js'
import { writeTinyGguf } from '../test/support/tiny-gguf.js'
import { wordText } from '../test/support/word-text.js'

async function tensorHash(path: string): Promise<string> {
  const gguf = await openGguf(path)
  try {
    const hash = createHash('sha256')
    for (const { name, type, shape } of gguf.tensors) hash.update(`${name} ${type} ${shape.join()}\n`)
    for (const tensor of gguf.tensors) hash.update(await gguf.read(tensor))
    return hash.digest('hex')
  } finally {
    await gguf.close()
  }
}

await withCleanup(async (defer) => {
  const folder = await mkdtemp(join(tmpdir(), 'quench-freeze-'))
  defer(() => rm(folder, { recursive: true, force: true }))
  process.env.QUENCH_CACHE = join(folder, 'cache')
  const [input, text] = ['model.gguf', 'text.txt'].map((name) => join(folder, name))
  await writeTinyGguf(input, { layers: 3, width: 256, heads: 4, headsKV: 2, feedForward: 512 })
  await writeFile(text, wordText(8000))
  const small = { tokens: 4096, context: 64, batch: 128, calibration: 2048, validation: 512, data: [text] }
  const model = await openSource(input)
  await model.gguf.close()
  const plan = { batch: small.batch, calibration: small.calibration, trial: 960 }
  const [block, whole] = (['solving one block at a time', 'solving in memory'] as const).map((stage) =>
    bytesOf(stage, model, plan),
  )
  const little = Math.ceil((block + whole) / 2)

  const ways: [name: string, more: Partial<TrainOptions>, stopAt: readonly [stage: string, done: number]][] =
    [
      ['blockwise', { method: 'blockwise' }, ['blockwise', 1.5]],
      ['blockwise, one block at a time', { method: 'blockwise', memory: little }, ['blockwise', 1.5]],
      ['distill', { method: 'distill', steps: 8 }, ['train', 5]],
      ['distill, top-k', { method: 'distill', steps: 8, teacherTopK: 16 }, ['train', 5]],
      ['distill, without embeddings', { method: 'distill', steps: 8, embeddings: 'no' }, ['blockwise', 2]],
      ['scales', { method: 'scales', steps: 8 }, ['train', 5]],
      ['written by the model', { method: 'distill', steps: 4, data: [], context: 32 }, ['blockwise', 1]],
    ]
  for (const type of ['Q4_0', 'Q2_K'])
    for (const [name, more, [stage, done]] of ways) {
      const output = join(folder, `${type}.gguf`)
      const options = { ...small, input, output, type, ...more }
      const { stages } = await train(options)
      print([`${await tensorHash(output)}  ${type} ${name}`])
      // A stage that is undone does not show in the file; its divergence is as exact.
      for (const { stage, kld, taken } of stages) print([`  ${stage} ${kld.mean}${taken ? '' : ', undone'}`])
      const stop = new AbortController()
      const onProgress: TrainOptions['onProgress'] = (event) => {
        if (event.stage === stage && event.done >= done) stop.abort()
      }
      const stopped = await train({ ...options, signal: stop.signal, onProgress }).then(
        () => false,
        () => true,
      )
      if (!stopped) throw new Error(`${name} was not stopped`)
      const resumed = await train({ ...options, resume: true })
      print([`${await tensorHash(output)}  ${type} ${name}, stopped and resumed`])
      for (const { stage, kld } of resumed.stages) print([`  ${stage} ${kld.mean}`])
    }
  if (process.argv.includes('--demo')) {
    const { files } = await demo({ folder: join(folder, 'demo') })
    for (const { path, name } of files.filter(({ method }) => method === 'qat'))
      print([`${await tensorHash(path)}  demo ${name} ${basename(path)}`])
  }
})
