/** Evaluation of files on a tiny model of random weights, against logits that are read position by position. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Evaluation, evaluateFiles } from '../../src/evaluate/index.js'
import { fileTypes } from '../../src/gguf/file-types.js'
import { FILE_TYPES, LlamaContext, LlamaModel, quantizeModel } from '../../src/llama/index.js'
import { Random } from '../../src/random.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'

let folder: string
let reference: string
let q8: string
let q4: string
let evaluation: Evaluation
const context = 32
const random = new Random(11)
const text = Array.from(
  { length: 800 },
  () => ['the', ' and', ' sea', ' in', '\n', ' er'][random.int(6)],
).join('')

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-'))
  reference = join(folder, 'f32.gguf')
  q8 = join(folder, 'q8.gguf')
  q4 = join(folder, 'q4.gguf')
  await writeTinyGguf(reference)
  await quantizeModel(reference, q8, { type: 'Q8_0' })
  await quantizeModel(reference, q4, { type: 'Q4_0' })
  evaluation = await evaluateFiles({ reference, files: [q4, q8, reference], text, context })
})
afterAll(() => rm(folder, { recursive: true }))

test('the file types are those that libllama writes', () => {
  for (const [name, id] of Object.entries(FILE_TYPES)) expect(fileTypes.get(id)).toBe(name)
})

/** Log-probabilities of every scored position, from windows decoded one by one. */
async function logProbabilities(path: string): Promise<{ rows: Float64Array[]; targets: number[] }> {
  const model = await LlamaModel.load(path)
  const run = await LlamaContext.create(model, { contextSize: context })
  const tokens = model.tokenize(text, { addSpecial: true })
  const rows: Float64Array[] = []
  const targets: number[] = []
  for (let start = 0; start + context <= tokens.length; start += context) {
    const window = tokens.slice(start, start + context)
    window[0] = model.bos!
    run.clear()
    await run.decode(window, { logits: 'all' })
    for (let i = context / 2; i < context - 1; i++) {
      const logits = Float64Array.from(run.logits().subarray(i * model.vocabSize, (i + 1) * model.vocabSize))
      const logSum = Math.log(logits.reduce((s, v) => s + Math.exp(v), 0))
      rows.push(logits.map((v) => v - logSum))
      targets.push(window[i + 1])
    }
  }
  run.dispose()
  model.dispose()
  return { rows, targets }
}

test('means agree with logits that are read one window at a time', async () => {
  const base = await logProbabilities(reference)
  const other = await logProbabilities(q4)
  const n = base.rows.length
  const nll = (of: typeof base) => of.rows.reduce((s, row, i) => s - row[of.targets[i]], 0) / n
  const kld = base.rows.reduce(
    (s, row, i) => s + row.reduce((t, v, k) => t + Math.exp(v) * (v - other.rows[i][k]), 0),
    0,
  )
  expect(evaluation.tokens).toBe(n)
  expect(evaluation.windows).toBe(n / (context / 2 - 1))
  expect(evaluation.reference.perplexity.mean).toBeCloseTo(Math.exp(nll(base)), 1)
  const file = evaluation.files[0]
  expect(Math.log(file.perplexity.mean) / nll(other)).toBeCloseTo(1, 3)
  expect(file.kld.mean / (kld / n)).toBeCloseTo(1, 2)
})

test('what a file is, and how far', () => {
  const [four, eight, self] = evaluation.files
  expect([four.type, eight.type, self.type]).toEqual(['Q4_0', 'Q8_0', 'F32'])
  expect(four.bytes).toBeLessThan(eight.bytes)
  expect(self.bitsPerWeight).toBe(32)
  expect(four.kld.mean).toBeGreaterThan(5 * eight.kld.mean)
  expect(four.top1.mean).toBeLessThanOrEqual(1)
  const { min, median, p90, p95, p99, max } = four.kld
  const ascending = [min, median, p90, p95, p99, max]
  expect(ascending).toEqual([...ascending].sort((a, b) => a - b))
  const total = four.windowSums.kld.reduce((s, v) => s + v, 0)
  expect(total / evaluation.tokens).toBeCloseTo(four.kld.mean, 10)
})

test('a file against itself: exactly 0', () => {
  const self = evaluation.files[2]
  const { quantileErrors, interval, ...numbers } = self.kld
  expect(new Set(Object.values(numbers))).toEqual(new Set([0]))
  expect(quantileErrors.p99).toEqual({ se: 0, interval: [0, 0] })
  expect(interval).toEqual([0, 0])
  expect(self.reversedKld).toEqual({ mean: 0, se: 0, interval: [0, 0] })
  expect(self.perplexityRatio).toEqual({ mean: 1, se: 0, interval: [1, 1] })
  expect(self.rmsProbabilityChange.mean).toBe(0)
  expect(self.top1).toEqual({ mean: 1, se: 0, interval: [1, 1] })
  expect(self.topOverlap).toEqual({ count: 10, mean: 1, se: 0, interval: [1, 1] })
  expect(self.perplexity).toEqual(evaluation.reference.perplexity)
})

test('repeatable; a limit of tokens, texts one after another, progress, a quantized reference', async () => {
  const again = await evaluateFiles({ reference, files: [q4, q8, reference], text: [text], context })
  expect(again).toEqual(evaluation)
  const seen: number[] = []
  const part = await evaluateFiles({
    reference: q8,
    files: [q4],
    text: [text, text],
    context: 600,
    maxTokens: 1300,
    onProgress: ({ done, total }) => seen.push(done / total),
  })
  expect(part.windows).toBe(2)
  expect(part.tokens).toBe(2 * 299)
  expect(seen.at(-1)).toBe(1)
  expect(part.warnings.join()).toMatch(/itself quantized \(Q8_0\)/)
})

test('an evaluation can be stopped, and cannot be made of too little', async () => {
  const stopped = { reference, files: [q4], text, context, signal: AbortSignal.abort() }
  await expect(evaluateFiles(stopped)).rejects.toThrow(/abort/)
  const run = (more: object) => evaluateFiles({ reference, files: [q4], text, context, ...more })
  await expect(run({ text: 'the sea' })).rejects.toThrow(/the text has only \d+ tokens.* at least 64/)
  await expect(run({ maxTokens: 63 })).rejects.toThrow(/--tokens is 63/)
  await expect(run({ context: 4 })).rejects.toThrow(/--context is 4/)
})
