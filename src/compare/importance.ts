/** The importance matrix of a comparison: of the text that training uses, so that files differ by method and not by text. */
import { withCleanup } from '../cleanup.js'
import type { TrainSettings } from '../config/options.js'
import { collectImatrix } from '../imatrix/make.js'
import { memoryBudget } from '../memory.js'
import { openSource } from '../student/source.js'
import { textOptions } from '../training-text/run-text.js'
import { readText, trainingText } from '../training-text/text.js'

/** Limit of the text: it costs a forward pass. */
const mostTokens = 32_768
/** Tokens of a window, as llama-imatrix has by default, unless training has its own. */
const usualContext = 512

export interface ImportanceOptions {
  /** The full-precision model. */
  readonly model: string
  /** GGUF file to write. */
  readonly output: string
  /** The settings of training. Text that the model writes is used only if they say so, since writing it takes long. */
  readonly training: TrainSettings
  readonly onProgress?: (done: number, total: number) => void
  readonly onWarning?: ((warning: string) => void) | undefined
}

/** Writes the matrix. @throws UsageError, FileError or QuenchError of one sentence */
export async function makeImportance({
  model,
  output,
  training,
  onProgress,
  onWarning,
}: ImportanceOptions): Promise<void> {
  const tokens = await importanceText(model, training, onWarning)
  await collectImatrix(
    { input: model, output, onProgress: ({ done, total }) => onProgress?.(done, total) },
    { tokens, name: 'training text of quench' },
  )
}

/** The windows that importances are collected from, all of one length. */
export function importanceText(
  model: string,
  training: TrainSettings,
  onWarning?: (warning: string) => void,
): Promise<Int32Array[]> {
  return withCleanup(async (defer) => {
    const source = await openSource(model)
    defer(() => source.gguf.close())
    const length = training.context ?? Math.min(usualContext, source.config.context)
    const options = textOptions(
      source,
      length,
      {
        ...training,
        ...{ input: model, output: '', type: '' },
        selfWritten: training.selfWritten ?? 0,
        tokens: Math.min(mostTokens, training.tokens ?? mostTokens),
        ...(onWarning && { onWarning }),
      },
      training.memory ?? memoryBudget(),
    )
    const { windows } = await trainingText(model, options, await readText(model, options))
    return windows
  })
}
