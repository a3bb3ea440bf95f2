/**
 * Recurrent states: what Mamba, RWKV, gated delta nets and short convolutions keep of a sequence instead of keys and values.
 * Source: llama_hparams::n_embd_r and n_embd_s of llama.cpp v0.5.0.
 */
import { optionalCount } from '../../models/hyperparameters.js'
import type { GgufHeader } from './types.js'

export interface Recurrent {
  /** Numbers of a layer per sequence. */
  readonly width: number
  readonly recurrent: (layer: number) => boolean
}

const parts = /^blk\.(\d+)\.(?:ssm_|shortconv|time_mix)/

/** Which layers have a state, by their tensors, and how large it is. @throws FileError for a damaged value */
export function recurrentWidths(
  { metadata, tensors }: GgufHeader,
  architecture: string,
  heads: number,
): Recurrent {
  const number = (name: string): number => optionalCount(metadata, `${architecture}.${name}`)
  const layers = new Set(tensors.map(({ name }) => Number(parts.exec(name)?.[1] ?? -1)))
  const recurrent = (layer: number): boolean => layers.has(layer)
  const width = number('embedding_length')
  const head = number('wkv.head_size')
  if (head > 0) return { width: (number('token_shift_count') || 2) * width + width * head, recurrent }
  const convolution = number('shortconv.l_cache')
  if (convolution > 0) return { width: width * (convolution - 1), recurrent }
  const inner = number('ssm.inner_size')
  const state = number('ssm.state_size')
  const kernel = Math.max(0, number('ssm.conv_kernel') - 1)
  const delta = number('kda.head_dim')
  if (delta > 0) return { width: 3 * (kernel || 3) * heads * delta + delta * delta * heads, recurrent }
  const groups = number('ssm.group_count')
  return { width: kernel * (inner + 2 * groups * state) + state * inner, recurrent }
}
