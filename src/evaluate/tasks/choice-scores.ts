/**
 * Log-probabilities of the choices of many questions. The common prefix of a question's choices is computed once: many
 * questions share one KV cache, and the sequences of a question share the cells of the prefix.
 */
import { withCleanup } from '../../cleanup.js'
import { FileError } from '../../errors.js'
import { LlamaContext, type LlamaModel } from '../../llama/index.js'
import { cacheOptions } from '../models.js'
import { explained, NotFiniteError } from '../not-finite.js'
import { BaseScore, baseFields } from '../score-bases.js'
import { ScorePool } from '../score-pool.js'
import type { ChoiceForm, ChoiceTask } from './choice-files.js'

/**
 * Tokens of a question: each choice with its context, and the length of their common prefix (at least the last token is a
 * choice's own).
 */
export interface PreparedQuestion {
  readonly sequences: readonly Int32Array[]
  readonly shared: number
}

/** Sum of the log-probabilities of each choice, and the number of its tokens. */
export interface ScoredQuestion {
  readonly sums: Float64Array
  readonly counts: Int32Array
}

/** Limit of cached tokens, whatever the model supports. */
const mostCells = 65_536

/** @param name of the question. @throws FileError about `path` for a question that does not fit the model */
export function prepareQuestion(
  model: LlamaModel,
  { context, choices }: ChoiceTask,
  form: ChoiceForm,
  { path, name }: { readonly path: string; readonly name: string },
): PreparedQuestion {
  const most = Math.min(model.trainContext, mostCells)
  const sequences = choices.map((choice) => {
    const spaced = form === 'jsonl' && (/\s$/.test(context) || /^\s/.test(choice))
    const space = spaced ? '' : ' ' // llama-perplexity always adds one to its own formats
    const tokens = model.tokenize(context + space + choice, { addSpecial: true })
    if (tokens.length > most)
      throw new FileError(
        path,
        `${name} takes ${tokens.length} tokens with one of its choices, more than the ${most} that ${model.path} can read at once; shorten it`,
      )
    return tokens
  })
  const shortest = sequences.reduce((least, { length }) => Math.min(least, length), Number.POSITIVE_INFINITY)
  let shared = 0
  while (shared < shortest - 1 && sequences.every((tokens) => tokens[shared] === sequences[0][shared]))
    shared++
  if (shared < 1) throw new FileError(path, `${name} has no tokens before its choices with ${model.path}`)
  const question = { sequences, shared }
  if (cellsOf(question) > mostCells)
    throw new FileError(
      path,
      `${name} takes ${cellsOf(question)} tokens with all of its choices, more than ${mostCells}; shorten it`,
    )
  return question
}

/** Tokens that a question takes in the cache; the last token of each choice is not run. */
const cellsOf = ({ sequences, shared }: PreparedQuestion): number =>
  sequences.reduce((sum, { length }) => sum + length - shared, shared - 1)

const cacheCells = 2048
const microBatch = 512
const maxLogitBytes = 2 ** 26
const mostSequences = 128

interface Running {
  readonly threads: number | undefined
  readonly signal: AbortSignal | undefined
}

export async function scoreQuestions(
  model: LlamaModel,
  questions: readonly PreparedQuestion[],
  kvType: string,
  report: (done: number, total: number) => void,
  { threads, signal }: Running,
): Promise<ScoredQuestion[]> {
  const most = (of: (question: PreparedQuestion) => number): number =>
    questions.reduce((m, q) => Math.max(m, of(q)), 0)
  const sequences = Math.max(
    mostSequences,
    most((q) => q.sequences.length),
  )
  const cells = Math.max(cacheCells, most(cellsOf))
  const rows = Math.max(1, Math.min(microBatch, Math.floor(maxLogitBytes / (4 * model.vocabSize))))
  const context = await LlamaContext.create(model, {
    contextSize: Math.ceil(cells / sequences),
    sequences,
    sharedCells: true,
    batchSize: microBatch,
    ...cacheOptions(kvType),
    ...(threads !== undefined && { threads }),
  })
  return withCleanup(async (defer) => {
    defer(() => context.dispose())
    const pool = new ScorePool({
      size: model.vocabSize,
      rows,
      topCount: 1,
      bases: 1,
      ...(threads !== undefined && { threads }),
    })
    defer(() => pool.close())
    const total = questions.reduce((sum, question) => sum + cellsOf(question), 0)
    let done = 0
    const scored: ScoredQuestion[] = []
    for (const group of groupsOf(questions, cells, sequences)) {
      const runner = new GroupRunner(context, pool, rows, signal)
      scored.push(...(await runner.run(group)))
      done += group.reduce((sum, question) => sum + cellsOf(question), 0)
      report(done, total)
    }
    return scored
  })
}

/** Groups of as many questions as fit the cache. */
function* groupsOf(
  questions: readonly PreparedQuestion[],
  cells: number,
  sequences: number,
): Generator<PreparedQuestion[]> {
  let group: PreparedQuestion[] = []
  let [usedCells, usedSequences] = [0, 0]
  for (const question of questions) {
    const [own, count] = [cellsOf(question), question.sequences.length]
    if (group.length > 0 && (usedCells + own > cells || usedSequences + count > sequences)) {
      yield group
      group = []
      usedCells = 0
      usedSequences = 0
    }
    group.push(question)
    usedCells += own
    usedSequences += count
  }
  if (group.length > 0) yield group
}

/** A token to run; its logits are computed if it has a target. */
interface Step {
  readonly token: number
  readonly position: number
  readonly sequence: number
  readonly target?: number
  readonly add?: (logProbability: number) => void
}

class GroupRunner {
  constructor(
    private readonly context: LlamaContext,
    private readonly pool: ScorePool,
    private readonly rows: number,
    private readonly signal: AbortSignal | undefined,
  ) {}

  async run(group: readonly PreparedQuestion[]): Promise<ScoredQuestion[]> {
    const { context } = this
    context.clear()
    const firsts: number[] = []
    let sequence = 0
    for (const { sequences } of group) {
      firsts.push(sequence)
      sequence += sequences.length
    }
    // The last shared token is run once per choice, so that every row of logits has one target.
    const beginnings = group.flatMap(({ sequences: [tokens], shared }, g) =>
      Array.from(
        { length: shared - 1 },
        (_, i): Step => ({ token: tokens[i], position: i, sequence: firsts[g] }),
      ),
    )
    await this.decode(beginnings)
    for (const [g, { sequences, shared }] of group.entries())
      if (shared > 1)
        for (let c = 1; c < sequences.length; c++) context.copySequence(firsts[g], firsts[g] + c)
    const scored = group.map(({ sequences, shared }) => ({
      sums: new Float64Array(sequences.length),
      counts: Int32Array.from(sequences, ({ length }) => length - shared),
    }))
    const ends = group.flatMap(({ sequences, shared }, g) =>
      sequences.flatMap((tokens, c) =>
        Array.from({ length: tokens.length - shared }, (_, i): Step => {
          const position = shared - 1 + i
          const add = (logProbability: number): void => {
            scored[g].sums[c] += logProbability
          }
          return {
            token: tokens[position],
            position,
            sequence: firsts[g] + c,
            target: tokens[position + 1],
            add,
          }
        }),
      ),
    )
    await this.decode(ends)
    return scored
  }

  private async decode(steps: readonly Step[]): Promise<void> {
    const { context, pool, rows, signal } = this
    // Either all steps have a target or none has.
    const size = Math.min(context.batchSize, steps[0]?.target === undefined ? context.batchSize : rows)
    for (let start = 0; start < steps.length; start += size) {
      signal?.throwIfAborted()
      const part = steps.slice(start, start + size)
      const column = (of: (step: Step) => number): Int32Array => Int32Array.from(part, of)
      const targets = column(({ target }) => target ?? -1)
      await context.decode(
        column(({ token }) => token),
        {
          positions: column(({ position }) => position),
          sequenceIds: column(({ sequence }) => sequence),
          logits: column(({ target }) => (target === undefined ? 0 : 1)),
        },
      )
      if (targets[0] < 0) continue
      const [scores] = await (await pool.setBase(0, context.logits(), targets, 0)).scores
      for (const [r, { add }] of part.entries()) {
        const nll = scores[r * baseFields + BaseScore.nll]
        if (!Number.isFinite(nll)) throw await explained(new NotFiniteError(context.model.path))
        add?.(-nll)
      }
    }
  }
}
