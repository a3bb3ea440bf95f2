/** Results do not depend on how many threads a batch was computed with. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest'
import { evaluateFiles } from '../../src/evaluate/index.js'
import { readTexts } from '../../src/index.js'
import { LlamaModel, quantizeModel, sampleSequences } from '../../src/llama/index.js'
import { ThreadPace } from '../../src/llama/thread-pace.js'
import { Random } from '../../src/random.js'

const shipped = new URL('../../models/quench-5m-f16.gguf', import.meta.url).pathname
const text = new URL('../../models/quench-5m.test.txt', import.meta.url).pathname
let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-'))
})
afterAll(() => rm(folder, { recursive: true }))
afterEach(() => vi.restoreAllMocks())

const { threads } = ThreadPace.prototype

/** Every batch that may be computed with fewer threads takes another number of them, by chance. */
function shake(seed: number): { counts: Set<number> } {
  const random = new Random(seed)
  const counts = new Set<number>()
  vi.spyOn(ThreadPace.prototype, 'threads').mockImplementation(function (this: ThreadPace, ...batch) {
    // A batch that must not be paced takes all threads.
    const fixed = threads.apply(new ThreadPace(2, Reflect.get(this, 'microBatch'), 1), batch) === 2
    const count = fixed ? 2 : 1 + random.int(2)
    counts.add(count)
    return count
  })
  return { counts }
}

test.each([
  ['within 256 tokens', 20],
  ['where attention could be divided', 290],
])('texts %s', async (_, length) => {
  const model = await LlamaModel.load(shipped)
  try {
    const begun = model.tokenize('The sea is wide. '.repeat(100)).subarray(0, length - 15)
    const prompts = [begun, begun.subarray(1), begun.subarray(2)]
    const write = () => sampleSequences(model, { sequences: 3, length, seed: 4, prompts })
    const { counts } = shake(1)
    const first = await write()
    expect(counts.size).toBe(2)
    shake(2)
    expect(await write()).toEqual(first)
  } finally {
    model.dispose()
  }
})

test.each([
  ['in windows of 512 tokens', 512],
  ['with a token that is alone', 1025],
])('losses %s', async (_, context) => {
  const file = join(folder, 'q4.gguf')
  await quantizeModel(shipped, file, { type: 'Q4_0' })
  const evaluate = async () => {
    const { files } = await evaluateFiles({
      ...{ reference: shipped, files: [file], context, maxTokens: 2 * context },
      text: (await readTexts([text])).join('\n'),
    })
    return files.map(({ kld, perplexity }) => [kld, perplexity])
  }
  shake(3)
  const first = await evaluate()
  shake(4)
  expect(await evaluate()).toEqual(first)
})
