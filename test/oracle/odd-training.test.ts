/**
 * Training on text of one odd kind, or on far too little of any: a trained file is on no kind of text worse than what llama.cpp makes
 * of the model, with or without an importance matrix, beyond chance; and where training does not help, the better of these is
 * what is written. Measured by libllama on text from other sources than what a run decides by.
 */

import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import type { TrainOptions } from '../../src/config/options.js'
import { windowsOfKinds } from '../../src/data/kinds.js'
import { joinWindows as joined, spread } from '../../src/data/windows.js'
import { evaluateFiles } from '../../src/evaluate/index.js'
import { openGguf } from '../../src/gguf/index.js'
import { LlamaModel } from '../../src/llama/index.js'
import { memoryBudget } from '../../src/memory.js'
import { llama } from '../../src/models/llama.js'
import { bytesOf } from '../../src/plan/memory.js'
import { Random } from '../../src/random.js'
import { train } from '../../src/train/train.js'
import { meanError } from '../../src/validation/estimate.js'
import { opponentData, tensorData } from '../support/stock.js'
import { firstBlocks } from '../support/with-metadata.js'

vi.unmock('../../src/data/shipped-texts.js')

const inRepository = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url))
const shipped = inRepository('models/quench-5m-f16.gguf')
const common = { type: 'Q2_K', method: 'blockwise', context: 64, batch: 256, validation: 512 } as const
const context = 128
const windowsOfKind = 16
/** In standard errors. Of forty comparisons chance alone makes one larger than two. */
const mostErrors = 3

let folder: string
/** The first blocks of the model that ships. */
let input: string
let kinds: Map<string, Int32Array>
/** What PTQ loses on each kind of text, window by window, in nats. */
const lost = { plain: new Map<string, readonly number[]>(), importance: new Map<string, readonly number[]>() }
const opponents = ['plain', 'importance'] as const
const file = (name: string): string => join(folder, name)

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-odd-'))
  process.env.QUENCH_CACHE = file('cache')
  input = file('model.gguf')
  await firstBlocks(shipped, input, 2)
  const model = await LlamaModel.load(input, { vocabOnly: true })
  try {
    const all = await windowsOfKinds(input, model, inRepository('bench/texts'), context)
    kinds = new Map(Array.from(all, ([kind, windows]) => [kind, joined(spread(windows, windowsOfKind))]))
  } finally {
    model.dispose()
  }
  for (const opponent of opponents)
    await opponentData({ ...common, input, output: '' }, { opponent }, file(`${opponent}.gguf`))
  for (const kind of kinds.keys()) {
    const sums = await windowSums(kind, ...opponents.map((opponent) => file(`${opponent}.gguf`)))
    for (const [i, opponent] of opponents.entries()) lost[opponent].set(kind, sums[i])
  }
}, 400_000)
afterAll(() => rm(folder, { recursive: true, force: true }))

/** Memory in which a block fits, but not the whole student. */
async function little(): Promise<number> {
  const gguf = await openGguf(input)
  const model = { architecture: llama, config: await llama.read(gguf) }
  await gguf.close()
  const plan = { batch: common.batch, calibration: 1024, trial: 1280 }
  return Math.ceil(bytesOf('solving one block at a time', model, plan)) + 1
}

const random = new Random(1)
const digits = Array.from({ length: 9000 }, () => String(random.int(100_000))).join(' ')
const chinese = Array.from(
  { length: 9000 },
  () => '的一是不了人我在有他这为之大来以个中上们'[random.int(20)],
).join('')
const constant = 'the '.repeat(9000)
const oneKind = readFileSync(inRepository('models/quench-5m.test.txt'), 'utf8')

/** How much files diverge on a kind of text, window by window, in nats. */
async function windowSums(kind: string, ...paths: string[]): Promise<(readonly number[])[]> {
  const text = kinds.get(kind) as Int32Array
  const { files } = await evaluateFiles({ reference: input, files: paths, text, context })
  return files.map((each) => each.windowSums.kld)
}

test.each<[name: string, text: string, more: Partial<TrainOptions>, memory: 'all' | 'a block']>([
  ['one language', chinese, {}, 'a block'],
  ['a constant', constant, {}, 'all'],
  ['a token for each input, of digits', digits, { calibration: 256, tokens: 256 }, 'all'],
  ['one kind', oneKind, { calibration: 4096, tokens: 4096 }, 'all'],
])('%s: %#', async (name, content, more, memory) => {
  const text = file(`${name}.txt`)
  await writeFile(text, content)
  const output = file(`${name} ${memory}.gguf`)
  const report = await train({
    ...{ ...common, input, output, data: [text], general: 0, tokens: 1024, calibration: 1024 },
    ...{ memory: memory === 'all' ? memoryBudget() : await little(), ...more },
  })
  expect(report.plan.inMemory).toBe(memory === 'all')
  expect(report.textTokens).toMatchObject({ general: 0, selfWritten: 0 })
  if (report.written === 'ptq')
    expect(await tensorData(output)).toEqual(await tensorData(file(`${report.opponent}.gguf`)))
  else
    for (const kind of kinds.keys()) {
      const [own] = await windowSums(kind, output)
      for (const opponent of opponents) {
        const its = lost[opponent].get(kind) as readonly number[]
        const { mean, se } = meanError(own.map((sum, i) => sum - its[i]))
        expect(mean, `${kind}, ${opponent}`).toBeLessThanOrEqual(mostErrors * se)
      }
    }
})
