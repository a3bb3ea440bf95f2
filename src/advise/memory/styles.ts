/** How an architecture's graph differs from that of Llama in what its tensors do not show. Source: src/models of llama.cpp v0.5.0. */
import type { Metadata } from '../../gguf/index.js'

export interface Style {
  /** Whether this release's graph of the architecture is followed step by step here, and tested. */
  readonly known: boolean
  readonly scaledEmbedding: boolean
  /** Queries are scaled before attention, not within it. */
  readonly scaledQueries: boolean
  readonly normedValues: boolean
  /** Rows whose logits are wanted are chosen behind the last norm, not in the last block. */
  readonly choosesLate: boolean
  readonly cappedLogits: boolean
  readonly cappedScores: boolean
  /** Numbers per position of the rotary embedding. */
  readonly positions: number
  /** Layers whose queries and keys are not rotated: every so many, the last of them; 0: none. */
  readonly unturnedPeriod: number
  /** Rotary frequencies have factors of their own: in all layers, or in those without a window. */
  readonly frequencies: 'none' | 'all' | 'global'
  readonly routesBySigmoid: boolean
  /** Probabilities are computed among the experts that were selected. */
  readonly routesByTop: boolean
  readonly normedWeights: boolean
  readonly scaledWeights: boolean
}

type Names = ReadonlySet<string>

const exact = 'llama qwen2 qwen3 qwen3moe smollm3 gemma2 gemma3 gemma4 granite glm4'.split(' ')
const gemma = (name: string): boolean => /^gemma\d?n?$/.test(name)

export function styleOf(metadata: Metadata, architecture: string, names: Names): Style {
  const is = (...architectures: string[]): boolean => architectures.includes(architecture)
  const number = (name: string): number => metadata.number(`${architecture}.${name}`, 0)
  return {
    known: exact.includes(architecture),
    scaledEmbedding: gemma(architecture) || number('embedding_scale') !== 0,
    scaledQueries: is('gemma', 'gemma2', 'gemma3'),
    normedValues: is('gemma3n', 'gemma4'),
    choosesLate: is('gemma3n', 'gemma4'),
    cappedLogits: is('gemma2', 'gemma3n') || (gemma(architecture) && number('final_logit_softcapping') !== 0),
    cappedScores: is('gemma2'),
    positions: /vl(moe)?$|^qwen35/.test(architecture) ? 4 : 1,
    unturnedPeriod: is('smollm3') ? 4 : 0,
    frequencies: !names.has('rope_freqs.weight') ? 'none' : is('gemma4') ? 'global' : 'all',
    routesBySigmoid: number('expert_gating_func') === 2,
    routesByTop: is('gpt-oss'),
    normedWeights: !is('gpt-oss', 'olmoe', 'qwen2moe'),
    scaledWeights: ![0, 1].includes(number('expert_weights_scale')),
  }
}
