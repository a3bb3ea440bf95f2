/** Questions in their three forms. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { FileError } from '../../src/errors.js'
import { readChoices } from '../../src/evaluate/index.js'
import { binaryChoices } from '../support/choices.js'

let folder: string
let path: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-'))
  path = join(folder, 'tasks')
})
afterAll(() => rm(folder, { recursive: true }))

const read = async (content: string | Uint8Array) => {
  await writeFile(path, content)
  return readChoices(path)
}
const lines = (...tasks: unknown[]): string => tasks.map((task) => `${JSON.stringify(task)}\n`).join('')

test('JSON lines as harnesses write them', async () => {
  const choices = ['a cat', 'a dog', 'a cow']
  const { form, tasks } = await read(
    lines(
      { context: 'It is', choices, answer: 1 },
      { query: 'It is', choices, gold: '2' },
      { question: 'It is', choices: { text: choices, label: ['A', 'B', 'C'] }, answerKey: 'B' },
      { question: 'It is', choices: { text: choices, label: ['1', '2', '3'] }, answerKey: '3' },
      { ctx: 'It is', endings: choices, label: '0' },
      { question: 'It is', choices, answer: 'C' },
      { question: 'It is', choices, answer: 'a dog' },
      { question: 'It is', choices, gold: [2] },
    ),
  )
  expect(form).toBe('jsonl')
  expect(tasks.map(({ right }) => right[0])).toEqual([1, 2, 1, 2, 0, 2, 1, 2])
  for (const task of tasks) expect(task).toMatchObject({ context: 'It is', choices })
})

test('six lines for HellaSwag, the last without an end of line too', async () => {
  const text = ['He runs', '3', 'far', 'fast', 'on', 'away']
  const { form, tasks } = await read([...text, ...text].join('\n'))
  expect(form).toBe('hellaswag')
  expect(tasks).toEqual([0, 1].map(() => ({ context: 'He runs', choices: text.slice(2), right: [3] })))
  // As Windows ends lines, with the last one too.
  expect((await read(`${[...text, ...text].join('\r\n')}\r\n`)).tasks).toEqual(tasks)
})

test('the binary form', async () => {
  const tasks = [
    { context: 'Grüße', choices: ['eins', 'zwei'], right: [1] },
    { context: 'b', choices: ['x', 'y', 'z'], right: [0, 2] },
  ]
  expect(await read(binaryChoices(tasks))).toEqual({ path, form: 'multiple-choice', tasks })
})

test('what is wrong is told, with the line', async () => {
  for (const [content, problem] of [
    ['', /holds no questions/],
    ['{"context":"a","choices":["b","c"],"answer":0}\n{"contex', /line 2: this is not JSON$/],
    [lines({ choices: ['b', 'c'], answer: 0 }), /line 1: it has no "context"/],
    [lines({ context: 'a', choices: ['b'], answer: 0 }), /a list of 2 to 100/],
    [lines({ context: 'a', choices: ['b', ''], answer: 0 }), /choices is empty/],
    [lines({ context: 'a', choices: ['b', 'c'], answer: 2 }), /is none of its choices/],
    [lines({ context: 'a', choices: ['b', 'c'] }), /is none of its choices/],
    ['one\ntwo\n', /it has 2 lines; questions are/],
    ['a\n4\nb\nc\nd\ne\n', /line 2 is not the index/],
    [
      binaryChoices([{ context: 'a', choices: ['b', 'c'], right: [0] }]).subarray(0, -5),
      /damaged or cut off/,
    ],
    [Buffer.from([255, 255, 255, 0, 0, 0]), /damaged or cut off/],
    [
      Buffer.from(binaryChoices([{ context: 'abc', choices: ['b', 'c'], right: [0] }])).fill(0xe9, 12, 13),
      /question at byte 12 is not UTF-8/,
    ],
    [
      lines(...Array(2).fill({ context: 'a', choices: ['b', 'c'.repeat(1_000_000)], answer: 0 })),
      /question 1 has more than 1000000 characters/,
    ],
  ] as const)
    await expect(read(content)).rejects.toThrow(problem)
  await expect(readChoices(join(folder, 'none'))).rejects.toThrow(/no such file/)
})

test('any bytes give questions or one clear error', async () => {
  const whole = binaryChoices([{ context: 'abc', choices: ['d', 'efg'], right: [1] }])
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc
      .tuple(fc.nat(whole.length - 1), fc.nat(255))
      .map(([at, to]) => Uint8Array.from(whole).fill(to, at, at + 1)),
    fc.string().map((text) => Buffer.from(text)),
    fc.json().map((text) => Buffer.from(text)),
  )
  await fc.assert(
    fc.asyncProperty(bytes, async (content) => {
      try {
        expect((await read(content)).tasks.length).toBeGreaterThan(0)
      } catch (error) {
        expect(error).toBeInstanceOf(FileError)
      }
    }),
  )
})
