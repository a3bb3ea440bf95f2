/** Options that only a program can give, since the command checks its own: one sentence that names the option, before any work. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import {
  benchFiles,
  compare,
  demo,
  evaluateChat,
  evaluateChoices,
  evaluateFiles,
  evaluateGeneration,
  makeImatrix,
  planQuantization,
  planTraining,
  pullModel,
  quantizeFile,
  type TrainOptions,
  train,
  UsageError,
  writeDocuments,
} from '../../src/index.js'

const model = join('models', 'quench-5m-f16.gguf')
/** Nothing is ever written there. */
const output = join('no-such-folder', 'x.gguf')

const text = ['the sea and the stone']
const notCounts = [Number.NaN, -1, 1.5, Number.POSITIVE_INFINITY, 2 ** 60, '5' as unknown as number]
const counts = (...names: string[]): [string, unknown][] =>
  names.flatMap((name) => notCounts.map((value): [string, unknown] => [name, value]))

async function refused(work: Promise<unknown>, name: string): Promise<void> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(UsageError)
  expect((error as Error).message).toMatch(new RegExp(`^${name} is .*; it must be [^\n]+$`))
}

describe('train', () => {
  test.each([
    ...counts('tokens', 'steps', 'context', 'teacherTopK', 'calibration', 'batch', 'seed'),
    ['tokens', 0],
    ['batch', 0],
    ['selfWritten', 1.1],
    ['selfWritten', Number.NaN],
    ...['seconds', 'memory', 'weightRate', 'scaleRate'].flatMap((name): [string, unknown][] =>
      [-1, Number.NaN, Number.POSITIVE_INFINITY].map((value) => [name, value]),
    ),
    ['seconds', 0],
    ['memory', 0],
    ['checkpointEvery', Number.NaN],
    ['checkpointEvery', -1],
    ['method', 'all'],
    ['embeddings', true],
  ])('%s: %s', async (name, value) => {
    await refused(train({ input: model, output, type: 'Q4_0', [name]: value } as TrainOptions), name)
  })

  test('steps and seconds', async () => {
    const both = { input: model, output, type: 'Q4_0', steps: 1, seconds: 1 }
    await expect(train(both)).rejects.toThrow(/^steps and seconds exclude each other/)
  })
})

const on = { reference: model, files: [model] }
test.each(counts('maxTokens', 'threads'))('evaluateFiles %s: %s', async (name, value) => {
  await refused(evaluateFiles({ ...on, text, [name]: value }), name)
})
test.each(counts('prompt', 'generate', 'depth', 'repetitions', 'threads', 'guesses'))(
  'benchFiles %s: %s',
  async (name, value) => {
    const list = ['prompt', 'generate', 'depth'].includes(name)
    await refused(benchFiles({ files: [model], [name]: list ? [4, value] : value }), name)
  },
)
test('an option that does not exist is refused by every function, with a similar one', async () => {
  const folder = 'no-such-folder'
  const given: [unknown: Record<string, unknown>, meant: string, call: (more: object) => Promise<unknown>][] =
    [
      [{ tokens: 5 }, 'maxTokens', (more) => evaluateFiles({ ...on, text, ...more })],
      [{ conversation: [] }, 'conversations', (more) => evaluateChat({ ...on, conversations: [], ...more })],
      [{ task: 1 }, 'tasks', (more) => evaluateChoices({ ...on, tasks: {} as never, ...more })],
      [{ prompt: '' }, 'prompts', (more) => evaluateGeneration({ ...on, prompts: [], ...more })],
      [{ repetition: 2 }, 'repetitions', (more) => benchFiles({ files: [model], ...more })],
      [{ thread: 2 }, 'threads', (more) => quantizeFile(model, output, 'Q4_0', more)],
      [{ thread: 2 }, 'threads', (more) => planQuantization(model, 'Q4_0', more)],
      [{ maxTokens: 5 }, 'tokens', (more) => makeImatrix({ input: model, output, ...more })],
      [{ connection: 1 }, 'connections', (more) => pullModel(model, more)],
      [{ maxTokens: 5 }, 'tokens', (more) => writeDocuments(model, more)],
      [{ time: 5, step: 5 }, 'there are', (more) => demo({ folder, ...more })],
      [{ contextSize: 5 }, 'context', (more) => compare({ model, folder, ...more })],
      [{ weightsRate: 1 }, 'weightRate', (more) => train({ input: model, output, type: 'Q4_0', ...more })],
      [
        { learningRate: 1 },
        'there are',
        (more) => planTraining({ input: model, output, type: 'Q4_0', ...more }),
      ],
    ]
  for (const [more, meant, call] of given) {
    const [name] = Object.keys(more)
    const error = await call(more).catch((reason: unknown) => reason)
    expect(error, name).toBeInstanceOf(UsageError)
    const advice = meant === 'there are' ? 'there are \\w+,.*' : `did you mean ${meant}\\?`
    expect((error as Error).message).toMatch(new RegExp(`^there is no option ${name}; ${advice}`))
  }
  expect(existsSync(folder)).toBe(false)
})

test('the others', async () => {
  const compared = { model, data: [model], folder: 'no-such-folder', store: output }
  for (const value of notCounts) {
    await refused(evaluateGeneration({ ...on, prompts: [], tokens: value }), 'tokens')
    await refused(quantizeFile(model, output, 'Q4_0', { threads: value }), 'threads')
    await refused(compare({ ...compared, continuations: value }), 'continuations')
    await refused(demo({ folder: 'no-such-folder', steps: value }), 'steps')
  }
  await expect(benchFiles({ files: [] })).rejects.toThrow(UsageError)
  expect(existsSync('no-such-folder')).toBe(false)
})
