/**
 * How the texts begin that a model writes itself. Half of them as any text does, with BOS alone. The others with one random token,
 * so that rare corners of the vocabulary are visited: any token is as likely as any other, but in a large vocabulary, where most are
 * rare, every second such token is drawn with its id uniform in the logarithm, since the ids of BPE vocabularies grow from frequent
 * to rare. Of a model with a chat template every second text is a conversation.
 */
import type { LlamaModel, Turns } from '../llama/index.js'
import { Random } from '../random.js'
import type { Conversation } from './conversation.js'

/** From this size on most tokens are rare. */
const largeVocabulary = 1 << 15
const stream = 0x7e47_0000

interface Start {
  readonly tokens: Int32Array
  /** Of a conversation. */
  readonly turns?: Turns
}

/** The beginning of text number `index`. Depends on nothing else but the seed. */
export function startOf(
  model: LlamaModel,
  seed: number,
  index: number,
  conversation: Conversation | undefined,
): Start {
  if (conversation && index % 2 === 1) return { tokens: conversation.opening, turns: conversation.turns }
  const number = conversation ? index >> 1 : index
  const bos = model.addBos && model.bos !== undefined ? [model.bos] : []
  if (number % 2 === 0 && bos.length > 0) return { tokens: Int32Array.from(bos) }
  const random = new Random(seed, stream + number)
  const frequent = model.vocabSize >= largeVocabulary && (number >> 1) % 2 === 1
  return { tokens: Int32Array.of(...bos, ordinaryToken(model, random, frequent)) }
}

function ordinaryToken(model: LlamaModel, random: Random, frequent: boolean): number {
  // A vocabulary without a single ordinary token is none of a language model, but comes from a stranger all the same.
  for (let attempt = 0; attempt < 100_000; attempt++) {
    const token = frequent ? Math.floor(model.vocabSize ** random.uniform()) : random.int(model.vocabSize)
    if (token < model.vocabSize && model.isOrdinary(token)) return token
  }
  return random.int(model.vocabSize)
}
