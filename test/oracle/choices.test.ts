/** Choice tasks on a tiny model, against log-probabilities read one choice at a time. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { evaluateChoices, readChoices } from '../../src/evaluate/index.js'
import { LlamaContext, LlamaModel, quantizeModel } from '../../src/llama/index.js'
import type { ProgressEvent } from '../../src/notices.js'
import { Random } from '../../src/random.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'

let folder: string
let model: string
let q4: string
let tasks: string
const random = new Random(4)
const words = ['the', 'sea', 'in', 'rain', 'and', 'stone', 'on', 'of']
const phrase = (count: number) => Array.from({ length: count }, () => words[random.int(8)]).join(' ')
const questions = Array.from({ length: 40 }, (_, i) => ({
  context: phrase(1 + random.int(30)),
  choices: Array.from({ length: 2 + (i % 4) }, () => phrase(1 + random.int(8))),
  answer: i % 2,
}))

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-'))
  model = join(folder, 'tiny.gguf')
  q4 = join(folder, 'q4.gguf')
  tasks = join(folder, 'tasks.jsonl')
  await writeTinyGguf(model)
  await quantizeModel(model, q4, { type: 'Q4_0' })
  await writeFile(tasks, questions.map((question) => `${JSON.stringify(question)}\n`).join(''))
})
afterAll(() => rm(folder, { recursive: true }))

/** For each question the choice with the best sum and with the best mean per token from the first that differs. */
async function plainly(path: string) {
  using loaded = await LlamaModel.load(path)
  using context = await LlamaContext.create(loaded, { contextSize: 512 })
  const picks: { sum: number; mean: number; margin: number }[] = []
  for (const { context: start, choices } of questions) {
    const all = choices.map((choice) => loaded.tokenize(`${start} ${choice}`, { addSpecial: true }))
    let shared = 0
    while (all.every((tokens) => shared < tokens.length - 1 && tokens[shared] === all[0][shared])) shared++
    const sums: number[] = []
    for (const tokens of all) {
      context.clear()
      await context.decode(tokens, { logits: 'all' })
      const logits = context.logits()
      let sum = 0
      for (let i = shared; i < tokens.length; i++) {
        const row = logits.subarray((i - 1) * loaded.vocabSize, i * loaded.vocabSize)
        sum += row[tokens[i]] - Math.log(row.reduce((s, v) => s + Math.exp(v), 0))
      }
      sums.push(sum)
    }
    const means = sums.map((sum, c) => sum / (all[c].length - shared))
    const [first, second] = means.toSorted((a, b) => b - a)
    picks.push({
      sum: sums.indexOf(Math.max(...sums)),
      mean: means.indexOf(Math.max(...means)),
      margin: first - second,
    })
  }
  return picks
}

test('the same choices as read one by one; agreement with the reference', async () => {
  const file = await readChoices(tasks)
  const done: number[] = []
  const onProgress = ({ done: part, total }: ProgressEvent) => done.push(part / total)
  const result = await evaluateChoices({ reference: model, files: [q4, model], tasks: file, onProgress })
  expect(done.at(-1)).toBe(1)
  const plain = { reference: await plainly(model), q4: await plainly(q4) }
  const same = (picks: readonly number[], expected: typeof plain.q4) => {
    for (const [i, { mean, margin }] of expected.entries()) if (margin > 0.01) expect(picks[i]).toBe(mean)
  }
  same(result.reference?.picks ?? [], plain.reference)
  same(result.files[0].picks, plain.q4)
  const right = plain.reference.filter(({ sum }, i) => sum === questions[i].answer).length
  expect(result.reference?.accuracy.mean).toBeCloseTo(right / questions.length, 1)
  const [four, self] = result.files
  const { picks } = result.reference ?? { picks: [] }
  const agreed = four.picks.filter((pick, i) => pick === picks[i]).length
  expect(four.agreement?.mean).toBe(agreed / questions.length)
  const isRight = (of: readonly number[], i: number) => of[i] === questions[i].answer
  expect(four.lost).toBe(questions.filter((_, i) => isRight(picks, i) && !isRight(four.picks, i)).length)
  expect(self).toMatchObject({ picks, agreement: { mean: 1 }, lost: 0, won: 0 })
  expect(four.accuracyNorm.interval[0]).toBeLessThan(four.accuracyNorm.mean)
})

test('without a reference there is no agreement', async () => {
  const { files, reference } = await evaluateChoices({ files: [q4], tasks: await readChoices(tasks) })
  expect(reference).toBeUndefined()
  expect(files[0].agreement).toBeUndefined()
  expect(files[0].picks).toHaveLength(40)
})
