/**
 * The process in which libllama is let loose on a file first (native-process.ts). It writes only the output of a
 * quantization, prints nothing to the terminal, and ends when the process that started it does.
 */
import koffi from 'koffi'
import { QuenchError } from '../errors.js'
import { LlamaContext } from './context.js'
import { LlamaModel, loadNative } from './model.js'
import { type QuantizeOptions, quantizeNative } from './quantize.js'

/** How far a file is tried: metadata and tokenizer; all of it but the values of the weights; a few tokens computed. */
export type Level = 'vocabulary' | 'load' | 'run'

export type WorkerAnswer =
  | { readonly reason: string | undefined }
  | { readonly error: string; readonly expected: boolean }

/** Each gives llama.cpp's reason if it fails. */
const work = {
  async try({ path, level }: { path: string; level: Level }): Promise<string | undefined> {
    const { result, reason } = await loadNative(path, {
      vocabOnly: level === 'vocabulary',
      weights: level === 'run',
      repack: false,
    })
    if (result === null) return reason()
    using model = new LlamaModel(path, result, { vocabOnly: level === 'vocabulary' })
    if (level !== 'vocabulary') await prepare(model, level === 'run')
    return undefined
  },

  quantize({ input, output, options }: { input: string; output: string; options: QuantizeOptions }) {
    return quantizeNative(input, output, options)
  },
}
export type NativeWork = typeof work

/** Builds the graphs, and computes some tokens. What fails here without a crash is told by whoever does it in earnest. */
async function prepare(model: LlamaModel, compute: boolean): Promise<void> {
  try {
    using context = await LlamaContext.create(model, { contextSize: 64 })
    if (!compute) return
    await context.decode([0, 0], { logits: 'all' })
    await context.decode([0])
  } catch (error) {
    if (!(error instanceof QuenchError)) throw error
  }
}

function withoutCoreDump(): void {
  const PR_SET_DUMPABLE = 4
  if (process.platform !== 'linux') return
  koffi.load(null).func('prctl', 'int', ['int', 'ulong', 'ulong', 'ulong', 'ulong'])(
    PR_SET_DUMPABLE,
    0,
    0,
    0,
    0,
  )
}

withoutCoreDump()
// Ctrl-C goes to all processes of a terminal, and this one must not end before its work is called off.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})
process.on('disconnect', () => process.exit())
process.on('message', async ({ kind, input }: { kind: keyof NativeWork; input: never }) => {
  const answer = (answer: WorkerAnswer) => process.send?.(answer)
  try {
    answer({ reason: await work[kind](input) })
  } catch (error) {
    const { message } = error as Error
    answer({ error: message, expected: error instanceof QuenchError })
  }
})
