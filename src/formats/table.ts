/** All number formats that quench can read, train and write. A new one needs its file and a line here. */

import { IQ1_M } from './codebooks/iq1_m.js'
import { IQ1_S } from './codebooks/iq1_s.js'
import { IQ2_S } from './codebooks/iq2_s.js'
import { IQ2_XS } from './codebooks/iq2_xs.js'
import { IQ2_XXS } from './codebooks/iq2_xxs.js'
import { IQ3_S } from './codebooks/iq3_s.js'
import { IQ3_XXS } from './codebooks/iq3_xxs.js'
import type { Format } from './format.js'
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

export const formats: readonly Format[] = [
  F32,
  F16,
  BF16,
  Q8_0,
  Q6_K,
  Q5_K,
  Q5_1,
  Q5_0,
  Q4_K,
  Q4_1,
  Q4_0,
  IQ4_NL,
  NVFP4,
  MXFP4,
  IQ4_XS,
  Q3_K,
  IQ3_S,
  IQ3_XXS,
  Q2_K,
  IQ2_S,
  IQ2_XS,
  IQ2_XXS,
  Q2_0,
  TQ2_0,
  IQ1_M,
  TQ1_0,
  IQ1_S,
  Q1_0,
]

/** The format of values that are stored as they are trained: norms, scales, the state of a run. */
export const unrounded: Format = F32

const byType = new Map(formats.map((format) => [format.type, format]))
const byName = new Map(formats.map((format) => [format.name, format]))

/** The format with this ggml_type id. */
export function formatOf(type: number): Format | undefined {
  return byType.get(type)
}

/** The format with this upper-case name, e.g. `Q4_K`. */
export function formatNamed(name: string): Format | undefined {
  return byName.get(name)
}
