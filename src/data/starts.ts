/**
 * First tokens of the texts that a model writes itself. Half of the texts start with BOS alone, as any text does. The others
 * start with one random token, so that rare parts of the vocabulary are visited: every token is equally likely, except that a
 * large vocabulary, in which most tokens are rare, has every second such token drawn log-uniformly by id, since BPE ids grow
 * from frequent to rare. If the model has a chat template, every second text is a conversation.
 */
import type { LlamaModel, Turns } from '../llama/index.js'
import { Random } from '../random.js'
import type { Conversation } from './conversation.js'

/** From this vocabulary size on, most tokens are rare. */
const largeVocabulary = 1 << 15
const stream = 0x7e47_0000

interface Start {
  readonly tokens: Int32Array
  /** Of a conversation. */
  readonly turns?: Turns
}

/** The beginning of text number `index`. Depends only on the seed. */
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
  // A vocabulary without ordinary tokens is no language model's, but files are untrusted.
  for (let attempt = 0; attempt < 100_000; attempt++) {
    const token = frequent ? Math.floor(model.vocabSize ** random.uniform()) : random.int(model.vocabSize)
    if (token < model.vocabSize && model.isOrdinary(token)) return token
  }
  return random.int(model.vocabSize)
}
