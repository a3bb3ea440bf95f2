/**
 * The process in which libllama first tries a file (native-process.ts). It writes only the output of a quantization, prints
 * nothing to the terminal, and ends when its parent does.
 */
import { rmSync } from 'node:fs'
import koffi from 'koffi'
import { QuenchError } from '../errors.js'
import { library } from './library.js'
import type { LlamaModel } from './model.js'
import type { NativeWork, WorkerAnswer } from './native-work.js'
import { planNative, quantizeNative } from './quantize-native.js'

/** Unfinished outputs, which nobody else removes if the parent is killed. */
let writing: readonly string[] = []

const work: NativeWork = {
  async try({ path, level }) {
    const { LlamaModel, loadNative } = await import('./model.js')
    const { result, reason } = await loadNative(path, {
      vocabOnly: level === 'vocabulary',
      weights: level === 'run',
      repack: false,
    })
    if (result === null) return reason()
    using model = new LlamaModel(path, result, { vocabOnly: level === 'vocabulary' })
    if (level !== 'load') tokenize(model)
    if (level !== 'vocabulary') await prepare(model, level === 'run')
    return undefined
  },

  async quantize({ input, output, options, files, trial }) {
    writing = files
    try {
      const quantized = quantizeNative(input, output, options)
      const [reason] = await Promise.all([quantized, trial && loadOrEnd(input)])
      return reason
    } finally {
      writing = []
    }
  },

  plan: ({ input, options }) => planNative(input, options),
}

/** Tries whether a model loads; if not, this process and whatever it does otherwise end. */
async function loadOrEnd(path: string): Promise<void> {
  const reason = await work.try({ path, level: 'load' })
  if (reason !== undefined) process.exit(1)
}

/** Characters that cover every UTF-8 byte up to two-byte sequences, and each lead byte of longer ones. */
const characters = [
  ...Array.from({ length: 0x800 }, (_, point) => point),
  ...Array.from({ length: 16 }, (_, lead) => 0x800 + 0x1000 * lead).filter((point) => point !== 0xd800),
  ...[0x10000, 0x40000, 0x80000, 0xc0000, 0x100000],
]
/** Tokens of a large vocabulary that are written as text. */
const tokensWritten = 4096

function tokenize(model: LlamaModel): void {
  model.tokenize(String.fromCodePoint(...characters), { addSpecial: true, parseSpecial: true })
  const step = Math.max(1, Math.floor(model.vocabSize / tokensWritten))
  const ids = Array.from({ length: Math.ceil(model.vocabSize / step) }, (_, i) => i * step)
  model.detokenize(ids, { special: true })
}

const parametersOfOneThread = 2 ** 28

/** Builds the graphs, and computes a few tokens. A failure without a crash is reported by the later, real call. */
async function prepare(model: LlamaModel, compute: boolean): Promise<void> {
  const { LlamaContext } = await import('./context.js')
  try {
    using context = await LlamaContext.create(model, {
      contextSize: 64,
      // More threads would only wait for each other on a busy machine.
      ...(model.parameters < parametersOfOneThread && { threads: 1 }),
    })
    if (compute) await context.decode([0, 0], { logits: 'all' })
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
// Ctrl-C signals all processes of a terminal, and this one must not end before its work is cancelled.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})
process.on('disconnect', () => {
  for (const path of writing) rmSync(path, { force: true })
  process.exit()
})
process.on('message', async ({ kind, input }: { kind: keyof NativeWork; input: never }) => {
  const answer = (answer: WorkerAnswer) => process.send?.(answer)
  try {
    answer({ result: await work[kind](input) })
  } catch (error) {
    const { message } = error as Error
    answer({ error: message, expected: error instanceof QuenchError })
  }
})
try {
  library() // so that it is there when the first work comes
} catch {
  // The work reports it.
}
