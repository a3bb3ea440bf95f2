/** Puts damaged copies of a model, by their numbers, through the work of `inspect`, `quantize` and `eval`. */
import { join } from 'node:path'
import { writeDamaged } from './damaged.js'

/** The sources, compiled if this is a test run: the processes that they start then load in a tenth of the time. */
const sources = process.env.QUENCH_TEST_BUILD ?? '../../src'
const { QuenchError }: typeof import('../../src/errors.js') = await import(`${sources}/errors.js`)
const { evaluateFiles }: typeof import('../../src/evaluate/index.js') = await import(
  `${sources}/evaluate/index.js`
)
const { inspectFile }: typeof import('../../src/gguf/inspect.js') = await import(`${sources}/gguf/inspect.js`)
const { quantizeFile }: typeof import('../../src/quantize/ptq.js') = await import(
  `${sources}/quantize/ptq.js`
)

export interface Tried {
  readonly what: string
  /** Of each work the error's message; null where there was none. */
  readonly errors: Readonly<Record<string, string | null>>
  /** Errors that are not meant for a person. */
  readonly bugs: readonly string[]
}

const [model, folder] = process.argv.slice(2)
const text = [
  { name: 'text', text: 'The ship had been at sea for three weeks when the wind rose. '.repeat(8) },
]

process.on('disconnect', () => process.exit())
process.on('message', async (seed: number) => {
  const path = join(folder, 'damaged.gguf')
  const output = join(folder, 'output.gguf')
  const what = await writeDamaged(model, path, seed)
  const bugs: string[] = []
  const errors: Record<string, string | null> = {}
  const works = {
    inspect: () => inspectFile(path),
    quantize: () => quantizeFile(path, output, 'Q4_0', { threads: 1 }),
    eval: () =>
      evaluateFiles({ reference: path, files: [path], text, context: 32, maxTokens: 64, threads: 1 }),
  }
  for (const [name, work] of Object.entries(works)) {
    errors[name] = await work().then(
      () => null,
      (error: Error) => {
        if (!(error instanceof QuenchError)) bugs.push(`${name}: ${error.stack}`)
        return error.message
      },
    )
  }
  process.send?.({ what, errors, bugs } satisfies Tried)
})
