/** Measures speculative decoding: the same prompts with and without a draft, interleaved. */
import { FileError } from '../errors.js'
import { openGguf } from '../gguf/index.js'
import { LlamaContext, LlamaModel } from '../llama/index.js'
import { type Written, writeGreedily } from './greedy.js'
import { type Spread, spreadOf } from './spread.js'

export interface SpeculateOptions {
  readonly draft: string
  /** Tokens drafted at once. */
  readonly guesses: number
  readonly prompts: readonly string[]
  /** Tokens to generate per prompt. */
  readonly length: number
  readonly threads?: number
  readonly kvType?: string
  readonly gpuLayers?: number
  readonly signal?: AbortSignal
  readonly onTokens?: (tokens: number) => void
}

/** Sums over the prompts of one round. */
export interface SpeculationRound {
  readonly plainSeconds: number
  readonly draftSeconds: number
  readonly tokens: number
  readonly guessed: number
  readonly accepted: number
  /** Prompts whose two texts are equal. */
  readonly identical: number
}

/** The effect of a draft on a file. */
export interface Speculation {
  readonly path: string
  readonly guesses: number
  readonly prompts: number
  readonly tokensPerPrompt: number
  /** Share of drafted tokens that the file accepted. */
  readonly acceptance: number
  /** Tokens per pass of the file: 1 without a draft. */
  readonly tokensPerPass: number
  readonly tokensPerSecond: { readonly plain: Spread; readonly draft: Spread }
  /** Time without a draft / time with it. */
  readonly speedUp: Spread
  /** Prompts whose text is the same with and without a draft. */
  readonly identical: number
}

const longestPrompt = 512

/** Loads both models and continues every prompt without and with the draft. */
export async function speculationRound(path: string, options: SpeculateOptions): Promise<SpeculationRound> {
  const { draft: draftPath, guesses, length, signal, onTokens } = options
  const open: { dispose(): void }[] = []
  const load = async (file: string): Promise<LlamaModel> => {
    const model = await LlamaModel.load(file, { gpuLayers: options.gpuLayers ?? 0 })
    open.push(model)
    return model
  }
  const contextOf = async (model: LlamaModel, size: number): Promise<LlamaContext> => {
    const context = await LlamaContext.create(model, {
      contextSize: size,
      ...(options.threads !== undefined && { threads: options.threads }),
      ...(options.kvType !== undefined && { kvType: options.kvType }),
    })
    open.push(context)
    return context
  }
  try {
    const model = await load(path)
    const draftModel = await load(draftPath)
    const prompts = options.prompts.map((text) => promptTokens(model, text))
    const size = Math.max(...prompts.map((prompt) => prompt.length)) + length + guesses + 1
    const target = await contextOf(model, size)
    const draft = { context: await contextOf(draftModel, size), guesses }
    const write = async (prompt: Int32Array, withDraft: boolean, tokens = length): Promise<Written> => {
      target.clear()
      draft.context.clear()
      return writeGreedily(target, prompt, {
        length: tokens,
        ...(withDraft && { draft }),
        ...(signal && { signal }),
      })
    }
    await write(prompts[0], true, Math.min(length, 8)) // warm-up
    const pairs: { plain: Written; drafted: Written }[] = []
    for (const prompt of prompts) {
      const plain = await write(prompt, false)
      const drafted = await write(prompt, true)
      pairs.push({ plain, drafted })
      onTokens?.(2 * length)
    }
    return sums(pairs)
  } finally {
    for (const each of open.reverse()) each.dispose()
  }
}

function sums(pairs: readonly { plain: Written; drafted: Written }[]): SpeculationRound {
  const sum = (value: (pair: { plain: Written; drafted: Written }) => number) =>
    pairs.reduce((total, pair) => total + value(pair), 0)
  return {
    plainSeconds: sum(({ plain }) => plain.seconds),
    draftSeconds: sum(({ drafted }) => drafted.seconds),
    tokens: sum(({ plain }) => plain.tokens.length - 1), // the first token comes from the prompt
    guessed: sum(({ drafted }) => drafted.guessed),
    accepted: sum(({ drafted }) => drafted.accepted),
    identical: sum(({ plain, drafted }) =>
      plain.tokens.every((token, i) => token === drafted.tokens[i]) ? 1 : 0,
    ),
  }
}

export function summarizeSpeculation(
  { draft, guesses, prompts, length }: Pick<SpeculateOptions, 'draft' | 'guesses' | 'prompts' | 'length'>,
  rounds: readonly SpeculationRound[],
): Speculation {
  const { guessed, accepted, tokens, identical } = rounds[0] // greedy: equal in every round
  return {
    path: draft,
    guesses,
    prompts: prompts.length,
    tokensPerPrompt: length,
    acceptance: guessed > 0 ? accepted / guessed : 0,
    tokensPerPass: tokens / (tokens - accepted),
    tokensPerSecond: {
      plain: spreadOf(rounds.map((round) => round.tokens / round.plainSeconds)),
      draft: spreadOf(rounds.map((round) => round.tokens / round.draftSeconds)),
    },
    speedUp: spreadOf(rounds.map((round) => round.plainSeconds / round.draftSeconds)),
    identical,
  }
}

function promptTokens(model: LlamaModel, text: string): Int32Array {
  const tokens = model.tokenize(text, { addSpecial: true }).slice(0, longestPrompt)
  return tokens.length > 0 ? tokens : Int32Array.of(model.bos ?? 0)
}

/** Drafted tokens are ids, so ids must mean the same. @throws FileError for a draft with another vocabulary */
export async function checkDraft(path: string, draft: string): Promise<void> {
  const architecture = await architectureOf(draft)
  if (readsHiddenStates.has(architecture))
    throw new FileError(
      draft,
      `a draft of architecture ${architecture} reads what the target thinks, which llama.cpp's C interface does not give out; choose an ordinary small model`,
    )
  const [own, other] = [await vocabulary(path), await vocabulary(draft)]
  const at = own.findIndex((token, i) => token !== other[i])
  if (own.length === other.length && at < 0) return
  const problem =
    own.length === other.length
      ? `token ${at} of its vocabulary is another one`
      : `its vocabulary has ${other.length} tokens, not ${own.length}`
  throw new FileError(
    draft,
    `${problem}, so it cannot guess for ${path}; choose a draft of the same vocabulary`,
  )
}

/** Draft architectures (MTP, EAGLE, DFlash) that run on the hidden states of their target model. */
const readsHiddenStates: ReadonlySet<string> = new Set(['gemma4-assistant', 'eagle3', 'dflash'])

async function architectureOf(path: string): Promise<string> {
  const gguf = await openGguf(path)
  try {
    return gguf.metadata.has('general.architecture') ? gguf.metadata.string('general.architecture') : ''
  } finally {
    await gguf.close()
  }
}

async function vocabulary(path: string): Promise<readonly string[]> {
  const gguf = await openGguf(path)
  try {
    return gguf.metadata.strings('tokenizer.ggml.tokens')
  } finally {
    await gguf.close()
  }
}
