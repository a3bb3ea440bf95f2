/** Runs the evaluations of `quench eval` that the options request, one after the other. */
import { ownTextTokens, ownTextWarning, writeDocuments } from '../../data/own-text.js'
import { type Document, readDocuments } from '../../data/texts.js'
import { UsageError } from '../../errors.js'
import {
  type ChoiceEvaluation,
  type ChoiceFile,
  type Evaluation,
  evaluateChat,
  evaluateChoices,
  evaluateFiles,
  evaluateGeneration,
  evaluatePerplexity,
  type FileEvaluation,
  type GenerationEvaluation,
  type ModelOptions,
  needModel,
  type PerplexityFile,
  promptsFromTexts,
  readChoices,
  readConversations,
  readPrompts,
} from '../../evaluate/index.js'
import { checkOutputs, type Files } from '../../outputs.js'
import { humanCount } from '../terminal/format.js'
import { eventLine } from '../terminal/progress.js'

export interface SectionOptions {
  /** Without it only perplexities are measured, and tasks. */
  reference?: string
  original?: string
  data?: string[]
  chat?: string[]
  tasks?: string[]
  /** A file of prompts, or the number of prompts to take from the text. */
  continue?: string
  continueTokens: number
  context: number
  /** Context length, if given; it then applies to conversations too. */
  chatContext?: number
  tokens?: number
  saveReference?: string
  kvType: string[]
  gpuLayers?: number
  threads?: number
}

/** The JSON document: results on text at the top level, the others by name. Without a reference `files` have fewer fields. */
export interface SectionResult extends Partial<Omit<Evaluation, 'files'>> {
  readonly files?: readonly (FileEvaluation | PerplexityFile)[]
  readonly chat?: Evaluation
  readonly tasks?: readonly ChoiceEvaluation[]
  readonly generation?: GenerationEvaluation
}

/** Input of every kind of evaluation. */
interface Common extends ModelOptions {
  readonly files: readonly string[]
}

/** @throws UsageError for options that need a reference, without one */
export async function evaluateSections(files: string[], options: SectionOptions): Promise<SectionResult> {
  const { reference } = options
  return reference === undefined
    ? withoutReference(files, options)
    : againstReference(files, { ...options, reference })
}

type WithReference = SectionOptions & { readonly reference: string }

const commonOf = (files: string[], { kvType, gpuLayers, threads }: SectionOptions): Common => ({
  files,
  kvTypes: [...new Set(['f16', ...kvType])],
  ...(gpuLayers !== undefined && { gpuLayers }),
  ...(threads !== undefined && { threads }),
})

/** Options that compare with a reference, by their flags. */
const comparing = {
  original: '--original',
  saveReference: '--save-reference',
  chat: '--chat',
  continue: '--continue',
} as const

async function withoutReference(files: string[], options: SectionOptions): Promise<SectionResult> {
  const { data, tasks, tokens, context } = options
  for (const [key, flag] of Object.entries(comparing))
    if (options[key as keyof typeof comparing] !== undefined)
      throw new UsageError(
        `${flag} needs --reference: name the full-precision file that these were made from`,
      )
  if (!data && !tasks)
    throw new UsageError(
      'there is no text: name one with --data to measure perplexity, or --reference, a full-precision file that writes text and is compared with',
    )
  const common = commonOf(files, options)
  const documents = data && (await readDocuments(data))
  const questions = await Promise.all((tasks ?? []).map(readChoices))
  const onText =
    documents &&
    (await evaluatePerplexity({
      ...common,
      text: documents,
      context,
      onProgress: progress('evaluating', 'evaluate'),
      ...(tokens !== undefined && { maxTokens: tokens }),
    }))
  return { ...onText, ...(tasks && { tasks: await answersTo(questions, common) }) }
}

/** Asks the questions of each file in turn. */
async function answersTo(
  questions: readonly ChoiceFile[],
  common: Common & { readonly reference?: string },
): Promise<ChoiceEvaluation[]> {
  const answers: ChoiceEvaluation[] = []
  for (const tasks of questions)
    answers.push(
      await evaluateChoices({ ...common, tasks, onProgress: progress('asking questions', 'tasks') }),
    )
  return answers
}

async function againstReference(files: string[], options: WithReference): Promise<SectionResult> {
  const { data, chat, tasks, continue: generate, continueTokens, reference, original } = options
  const common = { ...commonOf(files, options), reference }
  const second = original === undefined ? {} : { original }
  // Inputs and outputs are checked before the work starts.
  if (options.saveReference !== undefined) await checkOutputs(filesOf(options.saveReference, files, options))
  if (chat || tasks || generate !== undefined) await needModel(reference)
  const others = chat || tasks || generate !== undefined
  const documents = data ? await readDocuments(data) : others ? undefined : await ownDocuments(options)
  const conversations = chat && (await Promise.all(chat.map(readConversations))).flat()
  const questions = tasks && (await Promise.all(tasks.map(readChoices)))
  const prompts = generate === undefined ? undefined : await promptsOf(generate, documents)

  const { tokens, saveReference, context, chatContext } = options
  const mostTokens = tokens ?? (others || data ? undefined : Math.max(ownTextTokens, 2 * context))
  const onText =
    documents &&
    (await evaluateFiles({
      ...common,
      ...second,
      text: documents,
      context,
      onProgress: progress('evaluating', 'evaluate'),
      ...(mostTokens !== undefined && { maxTokens: mostTokens }),
      ...(saveReference !== undefined && { saveReference }),
    }))
  const onChat =
    conversations &&
    (await evaluateChat({
      ...common,
      ...second,
      conversations,
      onProgress: progress('evaluating conversations', 'chat'),
      ...(chatContext !== undefined && { context: chatContext }),
    }))
  const answers = await answersTo(questions ?? [], common)
  const generation =
    prompts &&
    (await evaluateGeneration({
      ...common,
      prompts,
      tokens: continueTokens,
      onProgress: progress('writing', 'continue'),
    }))
  const own = documents && !data ? [ownTextWarning(documents, reference)] : []
  return {
    ...onText,
    ...(onText && { warnings: [...own, ...onText.warnings] }),
    ...(onChat && { chat: onChat }),
    ...(questions && { tasks: answers }),
    ...(generation && { generation }),
  }
}

/** Text written by the reference, if no other is given. @throws UsageError for a saved reference, which cannot write */
async function ownDocuments({ reference, tokens, context }: WithReference): Promise<Document[]> {
  await needModel(reference)
  return writeDocuments(reference, {
    length: context,
    ...(tokens !== undefined && { tokens }),
    onProgress: progress('the model writes text', 'text'),
  })
}

const progress = (label: string, stage: string) =>
  eventLine(label, (rate) => `${humanCount(rate)} tokens/s`, stage)

async function promptsOf(generate: string, documents: Awaited<ReturnType<typeof readDocuments>> | undefined) {
  if (!/^\d+$/.test(generate)) return readPrompts(generate)
  if (!documents)
    throw new UsageError('--continue with a number takes prompts from the text of --data, which is missing')
  const count = Number(generate)
  if (count < 1 || count > 100_000) throw new UsageError(`--continue is ${generate}, not from 1 to 100000`)
  return promptsFromTexts(documents, count)
}

/** Output and input files. Missing texts and models are reported later. */
function filesOf(output: string, files: readonly string[], options: WithReference): Files {
  const { reference, original, data = [], chat = [], tasks = [], continue: generate } = options
  const named = (by: string, paths: readonly string[]) => paths.map((path) => ({ path, by }))
  return {
    writes: [{ path: output, by: '--save-reference' }],
    reads: [
      ...named('--reference', [reference]),
      ...named('--original', original === undefined ? [] : [original]),
      ...named('a file to evaluate', files),
      ...named('--data', data),
      ...named('--chat', chat),
      ...named('--tasks', tasks),
      ...named('--continue', generate === undefined || /^\d+$/.test(generate) ? [] : [generate]),
    ],
  }
}
