/**
 * How long a file's generated text equals its reference's. Metrics on given text do not show a model drift from its reference
 * as it generates, since every token is followed by the correct one. Here both continue the same prompts greedily, and the
 * first differing token counts. For prompts with tools, tool calls are scored as well: whether they parse, and whether they
 * equal the reference's.
 */

import { ChatTemplate, cutTokensWarning } from '../../data/chat-template.js'
import type { Document } from '../../data/texts.js'
import { QuenchError, UsageError } from '../../errors.js'
import type { LlamaModel } from '../../llama/index.js'
import { checkNumbers, checkOptionNames, whole } from '../../option-checks.js'
import { forEachModel, type ModelsOptions, modelOptions, type RunFile } from '../models.js'
import { type Estimate, estimate, quantile, wilson } from '../statistics.js'
import type { Prompt } from './chat-files.js'
import type { Share } from './choices.js'
import { continueGreedily } from './greedy.js'
import { sameCalls, type ToolCall } from './tool-calls.js'
import { ToolChecker } from './tool-checker.js'

/** Tool calls over the prompts that have tools. */
export interface ToolCallScore {
  readonly prompts: number
  /** Share of prompts that are answered with a call and whose calls are all valid by the schemas. */
  readonly parsed: Share
}

/** The generated text and its scores. */
export interface GenerationScore extends RunFile {
  /** The text after each prompt, with the names of special tokens. */
  readonly texts: readonly string[]
  readonly toolCalls?: ToolCallScore
}

export interface GenerationComparison extends GenerationScore {
  /** Share of prompts whose whole continuation equals the reference's. */
  readonly identical: Share
  /** Tokens before the first difference, for each prompt; all tokens if there is none. */
  readonly agreedTokens: readonly number[]
  /** Their mean and median over prompts. */
  readonly agreed: Estimate & { readonly median: number }
  /** Characters of each text that agree with the reference's, to show where the two diverge. */
  readonly agreedCharacters: readonly number[]
  readonly toolCalls?: ToolCallScore & {
    /** Share of prompts whose calls are valid and equal to the reference's. */
    readonly identical: Share
  }
}

export interface GenerationEvaluation {
  readonly prompts: readonly string[]
  /** Limit of generated tokens per prompt. */
  readonly tokens: number
  readonly reference: GenerationScore
  readonly files: readonly GenerationComparison[]
  /** Warnings about the figures. */
  readonly warnings: readonly string[]
}

export interface GenerationOptions extends ModelsOptions {
  readonly reference: string
  readonly prompts: readonly Prompt[]
  /** Limit of generated tokens per prompt. Default 64. */
  readonly tokens?: number
}

/** Tokens that every model may run, even beyond its training context. */
const leastContext = 4096

/** @throws FileError for files that cannot be run or compared, or for conversations without a chat template */
export async function evaluateGeneration(options: GenerationOptions): Promise<GenerationEvaluation> {
  const { prompts, tokens = 64, threads, signal } = options
  checkOptionNames(options, { ...modelOptions, reference: true, files: true, prompts: true, tokens: true })
  checkNumbers(options, { tokens: whole(1) })
  if (prompts.length === 0) throw new UsageError('there is no prompt to continue')
  const { texts, ordinary } = await promptTexts(options.reference, prompts)
  const warnings = new Set<string>()
  using checker = new ToolChecker()
  const { reference, files } = await forEachModel(options, 'continue', async (model, run, report) => {
    const warning = cutTokensWarning(options.reference, model, ordinary)
    if (warning !== undefined) warnings.add(warning)
    const written = await continueGreedily(model, await tokenizeAll(model, texts, tokens), {
      tokens,
      kvType: run.kvType,
      threads,
      signal,
      onTokens: (count) => report(count, tokens * prompts.length),
    })
    report(tokens * prompts.length, tokens * prompts.length)
    const textOf = (ids: Int32Array): string => model.detokenize(ids, { special: true })
    const withoutEnd = (ids: Int32Array) => (model.isEog(ids[ids.length - 1]) ? ids.subarray(0, -1) : ids)
    const calls: (ToolCall[] | undefined)[] = []
    for (const [i, ids] of written.entries()) {
      const tools = toolsOf(prompts[i])
      calls.push(tools && (await checker.parse(prompts[i].name, { tools, text: textOf(withoutEnd(ids)) })))
    }
    return { run, written, texts: written.map(textOf), calls }
  })
  if (!reference) throw new QuenchError('there is no reference')
  const asked = [...prompts.keys()].filter((i) => toolsOf(prompts[i]) !== undefined)
  return {
    prompts: texts.map(({ text }) => text),
    tokens,
    reference: score(reference, asked),
    files: files.map((file) => compare(reference, file, asked)),
    warnings: [...warnings, ...checker.warnings],
  }
}

const toolsOf = (prompt: Prompt): readonly unknown[] | undefined =>
  'tools' in prompt ? prompt.tools : undefined

interface PromptText {
  readonly name: string
  readonly text: string
  /** Whether names of special tokens in the text stand for these tokens, and whether BOS is already there. */
  readonly special: boolean
  readonly hasBos: boolean
}

async function promptTexts(reference: string, prompts: readonly Prompt[]) {
  using template = new ChatTemplate(reference)
  const texts: PromptText[] = []
  const all = new Set<string>()
  for (const prompt of prompts) {
    const { name } = prompt
    if ('text' in prompt) texts.push({ name, text: prompt.text, special: false, hasBos: false })
    else {
      const { result: text, bos, ordinary } = await template.open(prompt)
      for (const token of ordinary) all.add(token)
      texts.push({ name, text, special: true, hasBos: bos !== '' && text.startsWith(bos) })
    }
  }
  return { texts, ordinary: all }
}

/** @throws QuenchError if a prompt and its continuation exceed the training context, or `leastContext` if that is more */
async function tokenizeAll(
  model: LlamaModel,
  texts: readonly PromptText[],
  toWrite: number,
): Promise<Int32Array[]> {
  const all: Int32Array[] = []
  for (const { name, text, special, hasBos } of texts) {
    const tokens = await model.tokenizeAsync(text, { addSpecial: !hasBos, parseSpecial: special })
    const length = tokens.length + toWrite
    if (length > Math.max(leastContext, model.trainContext))
      throw new QuenchError(
        `${name} has ${tokens.length} tokens, which with ${toWrite} to write are more than the ${model.trainContext} that ${model.path} was trained with; shorten it`,
      )
    // Some vocabularies append EOS, after which nothing would be continued.
    const ends = tokens.length > 1 && tokens[tokens.length - 1] === model.eos && !special
    all.push(ends ? tokens.subarray(0, -1) : tokens)
  }
  return all
}

interface Written {
  readonly run: RunFile
  readonly written: readonly Int32Array[]
  readonly texts: readonly string[]
  readonly calls: readonly (ToolCall[] | undefined)[]
}

function score({ run, texts, calls }: Written, asked: readonly number[]): GenerationScore {
  if (asked.length === 0) return { ...run, texts }
  const parsed = asked.filter((i) => calls[i] !== undefined).length
  return { ...run, texts, toolCalls: { prompts: asked.length, parsed: share(parsed, asked.length) } }
}

function compare(reference: Written, file: Written, asked: readonly number[]): GenerationComparison {
  const { toolCalls, ...own } = score(file, asked)
  const count = reference.written.length
  const agreedTokens = file.written.map((ids, i) => commonLength(ids, reference.written[i]))
  const same = file.written.filter(
    (ids, i) => agreedTokens[i] === ids.length && ids.length === reference.written[i].length,
  ).length
  const sorted = Float64Array.from(agreedTokens).sort()
  const sameCall = asked.filter((i) => {
    const [a, b] = [file.calls[i], reference.calls[i]]
    return a !== undefined && b !== undefined && sameCalls(a, b)
  }).length
  return {
    ...own,
    identical: share(same, count),
    agreedTokens,
    agreed: { ...estimate(agreedTokens), median: quantile(sorted, 0.5) },
    agreedCharacters: file.texts.map((text, i) => commonLength(text, reference.texts[i])),
    ...(toolCalls && { toolCalls: { ...toolCalls, identical: share(sameCall, asked.length) } }),
  }
}

const share = (successes: number, n: number): Share => ({
  mean: successes / n,
  interval: wilson(successes, n),
})

/** Length of the common prefix of two lists. */
function commonLength(a: ArrayLike<unknown>, b: ArrayLike<unknown>): number {
  let i = 0
  while (i < a.length && i < b.length && a[i] === b[i]) i++
  return i
}

const promptWords = 24

/** `count` prompts from evenly spaced positions in the texts. @throws UsageError for texts that are too short */
export function promptsFromTexts(documents: readonly Document[], count: number): Prompt[] {
  const prompts: Prompt[] = []
  const sizes = documents.map(({ text }) => text.length)
  const total = sizes.reduce((sum, size) => sum + size, 0)
  for (let i = 0; i < count; i++) {
    let at = Math.floor((total * i) / count)
    let d = 0
    while (at >= sizes[d]) at -= sizes[d++]
    const { name, text } = documents[d]
    // Starts at the next whole word.
    const words = text.slice(at, at + 40 * promptWords).match(at === 0 ? /\S+/g : /(?<=\s)\S+/g) ?? []
    const start = words.slice(0, promptWords).join(' ')
    if (words.length < 2) continue
    prompts.push({ name: `${name} at ${at}`, text: start })
  }
  if (prompts.length === 0)
    throw new UsageError('the text is too short to take prompts from; give more text with --data')
  return prompts
}
