/** The end of a run: the file and the report. */
import { summarizeFile } from '../gguf/summary.js'
import { sizesOf } from '../plan/memory.js'
import { writeTyped } from '../quantize/by-recipe.js'
import type { Validated } from '../validation/opponent.js'
import type { RunContext } from './context.js'
import type { TrainReport } from './report.js'
import { outcomeOf, resultMetadata } from './result.js'
import { type State, solvingSeconds } from './stages.js'

/** Writes the file, or the reference quantizer's if no stage was kept, and returns the report. */
export async function writeResult(run: RunContext, state: State): Promise<TrainReport> {
  const { source, options, plan, network, types, check, text } = run
  const { progress } = state
  const { plain, opponent, kept } = progress.validated as Validated
  const stages = progress.stages ?? []
  const result = { plain, opponent, after: kept ?? opponent.divergence }
  const trained = stages.some(({ taken }) => taken)
  const weighed = !trained && opponent.kind === 'importance' ? await run.importance() : undefined
  const tokens = progress.step * network.tokens
  const metadata = resultMetadata(source, options, stages, { steps: progress.step, tokens }, result)
  for (const [key, value] of run.imatrix?.metadata ?? []) metadata.set(key, value)
  const made = trained ? { made: state.tensors() } : {}
  for (const [key, value] of run.provenance.placeholders) metadata.set(key, value)
  await writeTyped(source.gguf, options.output, metadata, types, {
    ...made,
    importance: weighed,
    late: (data) => run.provenance.entries(data),
  })
  const { bytes, bitsPerWeight } = await summarizeFile(options.output)
  const trainingSeconds = progress.seconds - solvingSeconds(progress)
  const { fileTokens, generalTokens, selfWrittenTokens, distinct4 } = text.report
  return {
    path: options.output,
    type: options.type,
    bytes,
    bitsPerWeight,
    written: trained ? 'qat' : 'ptq',
    method: plan.method,
    weights: {
      trained: sizesOf(source, new Set(plan.untrained)).trained,
      all: sizesOf(source).all,
      untrained: plan.untrained,
    },
    plan,
    stages,
    steps: progress.step,
    peakBytes: process.resourceUsage().maxRSS * 1024,
    tokens,
    distinctTokens: Math.min(tokens, text.windows.length * network.batch.length),
    textTokens: { files: fileTokens, general: generalTokens, selfWritten: selfWrittenTokens, distinct4 },
    seconds: progress.seconds,
    tokensPerSecond: trainingSeconds > 0 ? tokens / trainingSeconds : 0,
    validation: progress.curve,
    ...outcomeOf(result),
    check,
  }
}
