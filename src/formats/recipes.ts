/**
 * Recipes: which format each tensor of a model gets, identical to llama-quantize of llama.cpp 0.5.0 (src/llama-quant.cpp) if that has the
 * file type. For MXFP4 and NVFP4 in all matrices it has none, and the recipes are quench's own.
 *
 * A recipe is a default format and rules that may name another one for tensors that benefit from more bits: attention
 * values, the last matrices of feed-forward and attention. A rule sees the position of its tensor among those of its kind
 * and a few facts about the model. Rules of all recipes are in `assign.ts`.
 */

import { IQ1_M } from './codebooks/iq1_m.js'
import { IQ1_S } from './codebooks/iq1_s.js'
import { IQ2_S } from './codebooks/iq2_s.js'
import { IQ2_XS } from './codebooks/iq2_xs.js'
import { IQ2_XXS } from './codebooks/iq2_xxs.js'
import { IQ3_S } from './codebooks/iq3_s.js'
import { IQ3_XXS } from './codebooks/iq3_xxs.js'
import { BF16 } from './types/bf16.js'
import { F16 } from './types/f16.js'
import { F32 } from './types/f32.js'
import { IQ4_NL } from './types/iq4_nl.js'
import { IQ4_XS } from './types/iq4_xs.js'
import { MXFP4 } from './types/mxfp4.js'
import { NVFP4 } from './types/nvfp4.js'
import { Q1_0 } from './types/q1_0.js'
import { Q2_0 } from './types/q2_0.js'
import { Q2_K } from './types/q2_k.js'
import { Q3_K } from './types/q3_k.js'
import { Q4_0 } from './types/q4_0.js'
import { Q4_1 } from './types/q4_1.js'
import { Q4_K } from './types/q4_k.js'
import { Q5_0 } from './types/q5_0.js'
import { Q5_1 } from './types/q5_1.js'
import { Q5_K } from './types/q5_k.js'
import { Q6_K } from './types/q6_k.js'
import { Q8_0 } from './types/q8_0.js'
import { TQ1_0 } from './types/tq1_0.js'
import { TQ2_0 } from './types/tq2_0.js'

/** The model's facts that recipes depend on. For values per layer, that of layer 0. */
export interface ModelFacts {
  /** `general.architecture`. */
  readonly architecture: string
  /** `<arch>.block_count`. */
  readonly layers: number
  /** `<arch>.attention.head_count`. */
  readonly heads: number
  /** `<arch>.attention.head_count_kv`; `heads` if the key is missing. */
  readonly headsKv: number
  /** `<arch>.expert_count`; 0 if the key is missing. */
  readonly experts: number
}

/** A tensor's position, the `i`-th of `n` of its kind (by layer), and the facts that rules use. */
export interface Place {
  readonly i: number
  readonly n: number
  readonly falcon: boolean
  readonly queriesPerKey: number
  readonly experts: number
  readonly eightExperts: boolean
  readonly importance: boolean
}

/** A ggml_type id, or undefined to keep the recipe's default. */
type Rule = (place: Place) => number | undefined

export interface Recipe {
  /** Value of `general.file_type`. */
  readonly fileType: number
  /** ggml_type id of tensors without a rule. */
  readonly type: number
  /** ggml_type id of the embeddings, unless they are tied to the output matrix. */
  readonly embedding?: number
  /** ggml_type id of the output matrix; default Q6_K. */
  readonly output?: number
  /** Whether the rules for attention are all there is to it: others give it more bits in models of 70B and with eight experts. */
  readonly low?: boolean
  readonly attnV?: Rule
  readonly attnK?: Rule
  readonly attnQ?: Rule
  readonly attnOutput?: Rule
  readonly ffnDown?: Rule
  /** Of ffn_up and ffn_gate. */
  readonly ffnUpGate?: Rule
}

/** The first `1 / part` of the layers. */
const early = ({ i, n }: Place, part: number) => i < Math.floor(n / part)

/** The first and last eighth of the layers and every third one between. */
const important = ({ i, n }: Place) => {
  const eighth = Math.floor(n / 8)
  return i < eighth || i >= Math.floor((7 * n) / 8) || (i - eighth) % 3 === 2
}

const eightExpertsQ5K: Rule = ({ eightExperts, falcon }) => (eightExperts && !falcon ? Q5_K.type : undefined)

/** IQ4_NL and IQ4_XS, which differ in their blocks. */
const nonLinear = {
  attnV: ({ queriesPerKey }) => (queriesPerKey >= 4 ? Q5_K.type : undefined),
  attnOutput: eightExpertsQ5K,
  ffnDown: (at) => (early(at, 8) && !at.importance ? Q5_K.type : undefined),
} as const satisfies Partial<Recipe>

/** Of two bits and less: attention values, outputs of eight experts and early ffn_down get more, in a type that is given. */
const low = (more: number, attnOutput: number | undefined) =>
  ({
    low: true,
    output: Q5_K.type,
    attnV: ({ queriesPerKey, experts }) => (queriesPerKey >= 4 || experts >= 4 ? Q4_K.type : more),
    attnK: ({ eightExperts }) => (eightExperts ? Q4_K.type : undefined),
    attnOutput: ({ eightExperts }) => (eightExperts ? Q5_K.type : attnOutput),
    ffnDown: (at) => (early(at, 8) ? more : undefined),
  }) as const satisfies Partial<Recipe>

const fourQueries: Rule = ({ queriesPerKey }) => (queriesPerKey >= 4 ? Q4_K.type : undefined)

export const recipes: Readonly<Record<string, Recipe>> = {
  F32: { fileType: 0, type: F32.type },
  F16: { fileType: 1, type: F16.type },
  BF16: { fileType: 32, type: BF16.type },
  Q8_0: { fileType: 7, type: Q8_0.type },
  Q6_K: { fileType: 18, type: Q6_K.type },
  Q5_K_M: {
    fileType: 17,
    type: Q5_K.type,
    attnV: (at) => (important(at) ? Q6_K.type : undefined),
    ffnDown: (at) => (important(at) ? Q6_K.type : undefined),
  },
  Q5_K_S: { fileType: 16, type: Q5_K.type },
  Q5_1: { fileType: 9, type: Q5_1.type },
  Q5_0: {
    fileType: 8,
    type: Q5_0.type,
    ffnDown: (at) => (at.importance && early(at, 8) ? Q5_1.type : undefined),
  },
  Q4_K_M: {
    fileType: 15,
    type: Q4_K.type,
    attnV: (at) => (important(at) ? Q6_K.type : undefined),
    attnOutput: eightExpertsQ5K,
    ffnDown: (at) => {
      if (at.falcon) return early(at, 16) ? Q6_K.type : important(at) ? Q5_K.type : Q4_K.type
      return important(at) ? Q6_K.type : undefined
    },
  },
  Q4_K_S: {
    fileType: 14,
    type: Q4_K.type,
    attnV: ({ i }) => (i < 4 ? Q5_K.type : undefined),
    attnOutput: eightExpertsQ5K,
    ffnDown: (at) => (early(at, 8) && !at.falcon ? Q5_K.type : undefined),
  },
  Q4_1: { fileType: 3, type: Q4_1.type },
  Q4_0: {
    fileType: 2,
    type: Q4_0.type,
    ffnDown: (at) => (at.importance && early(at, 8) ? Q4_1.type : undefined),
  },
  IQ4_NL: { fileType: 25, type: IQ4_NL.type, ...nonLinear },
  // As Q4_0, which takes as many bits: every matrix but the output in one type, so that hardware that multiplies FP4 does so everywhere.
  NVFP4: { fileType: 39, type: NVFP4.type },
  // The same. llama-quantize's MXFP4_MOE, whose number it has, rounds the experts to MXFP4 and all else to Q8_0: no model that trains has experts.
  MXFP4: { fileType: 38, type: MXFP4.type },
  IQ4_XS: { fileType: 30, type: IQ4_XS.type, ...nonLinear },
  Q3_K_L: {
    fileType: 13,
    type: Q3_K.type,
    attnV: () => Q5_K.type,
    attnOutput: ({ eightExperts, falcon }) => (falcon ? Q4_K.type : eightExperts ? undefined : Q5_K.type),
    ffnDown: ({ falcon }) => (falcon ? Q4_K.type : Q5_K.type),
  },
  Q3_K_M: {
    fileType: 12,
    type: Q3_K.type,
    attnV: ({ i }) => (i < 2 ? Q5_K.type : Q4_K.type),
    attnOutput: ({ eightExperts, falcon }) => (falcon ? undefined : eightExperts ? Q5_K.type : Q4_K.type),
    ffnDown: (at) => (early(at, 16) ? Q5_K.type : at.falcon && !important(at) ? undefined : Q4_K.type),
  },
  IQ3_M: {
    fileType: 27,
    type: IQ3_S.type,
    attnV: () => Q4_K.type,
    attnOutput: ({ falcon, eightExperts }) => (falcon ? undefined : eightExperts ? Q5_K.type : Q4_K.type),
    ffnDown: (at) => (early(at, 8) || (at.eightExperts && important(at)) ? Q4_K.type : undefined),
  },
  IQ3_S: { fileType: 26, type: IQ3_S.type, attnV: fourQueries, attnOutput: eightExpertsQ5K },
  IQ3_XS: {
    fileType: 22,
    type: IQ3_S.type,
    attnV: fourQueries,
    attnK: () => IQ3_XXS.type,
    attnQ: () => IQ3_XXS.type,
    attnOutput: eightExpertsQ5K,
    ffnUpGate: ({ i, n }) =>
      i >= Math.floor(n / 8) && i < Math.floor((7 * n) / 8) ? IQ3_XXS.type : undefined,
  },
  IQ3_XXS: {
    fileType: 23,
    type: IQ3_XXS.type,
    embedding: IQ3_S.type,
    output: Q5_K.type,
    attnV: ({ queriesPerKey, importance }) =>
      queriesPerKey >= 4 ? Q4_K.type : importance ? undefined : IQ3_S.type,
    attnK: () => IQ2_S.type,
    attnQ: () => IQ2_S.type,
    attnOutput: ({ falcon, eightExperts }) => (falcon ? undefined : eightExperts ? Q5_K.type : IQ3_S.type),
    ffnDown: (at) => (at.importance ? undefined : early(at, 8) ? Q4_K.type : Q3_K.type),
  },
  Q3_K_S: { fileType: 11, type: Q3_K.type, attnOutput: eightExpertsQ5K },
  Q2_K: {
    fileType: 10,
    type: Q2_K.type,
    attnV: ({ queriesPerKey }) => (queriesPerKey >= 4 ? Q4_K.type : Q3_K.type),
    attnOutput: ({ eightExperts, falcon }) => (falcon ? undefined : eightExperts ? Q5_K.type : Q3_K.type),
    ffnDown: () => Q3_K.type,
  },
  Q2_K_S: {
    fileType: 21,
    type: Q2_K.type,
    attnV: fourQueries,
    ffnDown: (at) => (early(at, 8) ? Q4_K.type : undefined),
  },
  IQ2_M: { fileType: 29, type: IQ2_S.type, embedding: IQ3_S.type, ...low(IQ3_S.type, IQ3_S.type) },
  IQ2_S: { fileType: 28, type: IQ2_XS.type, embedding: IQ3_S.type, ...low(IQ3_S.type, IQ3_S.type) },
  IQ2_XS: { fileType: 20, type: IQ2_XS.type, embedding: Q2_K.type, ...low(Q2_K.type, undefined) },
  IQ2_XXS: { fileType: 19, type: IQ2_XXS.type, embedding: Q2_K.type, ...low(Q2_K.type, undefined) },
  Q2_0: { fileType: 41, type: Q2_0.type, embedding: Q4_K.type },
  TQ2_0: { fileType: 37, type: TQ2_0.type, embedding: Q4_K.type },
  IQ1_M: { fileType: 31, type: IQ1_M.type, embedding: Q2_K.type, ...low(Q2_K.type, IQ2_XXS.type) },
  TQ1_0: { fileType: 36, type: TQ1_0.type, embedding: Q4_K.type },
  IQ1_S: { fileType: 24, type: IQ1_S.type, embedding: Q2_K.type, ...low(Q2_K.type, IQ2_XXS.type) },
  Q1_0: { fileType: 40, type: Q1_0.type },
}
