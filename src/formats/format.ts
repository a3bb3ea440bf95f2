/**
 * The interface of a number format. A format is one object that defines its bytes and its grid; training rounds with the same
 * object that packs, so a trained file dequantizes to exactly the weights that were trained.
 *
 * Adding a format is one file that exports a `Format` and one line in `table.ts`.
 */
import type { Levels } from './levels.js'
import type { StoredScale } from './stored-scale.js'

/**
 * The fields of a run of blocks as stored: integers and scales, each as an f32 array, which holds every such value
 * exactly. Length of a field = blocks * values of that field per block (`Format.fields`).
 */
export type Codes = Record<string, Float32Array>

/**
 * A value that training may change, in f32.
 * `unit` is the size of one natural step (a quantization step for a weight, the whole for a scale), one for each run of
 * values.length / unit.length consecutive values. The optimizer's learning rates are in these units, so that one rate
 * fits every tensor of every format.
 */
export interface Latent {
  readonly kind: 'weight' | 'scale'
  readonly values: Float32Array
  readonly unit: Float32Array
}

export type Latents = Record<string, Latent>

/** The grids of groups of consecutive weights: w = scale * q - min, with q one of the levels. */
export interface Grid {
  /** One for each group, as rounded to f32; a group has weights / scales.length weights. */
  readonly scales: Float32Array
  readonly mins?: Float32Array
  readonly levels: Levels
}

/** A group's scale or offset: a stored number of the block, times one of the group if there is one. */
export interface Factor {
  /** Without `group`, a block may store several: one for each of its groups. */
  readonly block: StoredScale
  readonly group?: StoredScale
}

/** The vectors of codes that consecutive weights can have (codebooks/). */
export interface Codebook {
  /** Codes of an entry: 4 or 8. */
  readonly size: number
  /** The codes of every entry, or their magnitudes, one entry after another. */
  readonly entries: Float32Array
  /**
   * Signs of codes: those of the entry itself; or any; or of eight an even number negative, so that the last one is not stored.
   */
  readonly signs: 'own' | 'any' | 'even'
  /** Into how many equal parts the entries fall, such that all vectors of a group have to be of one part, and no code is in two of them. */
  readonly parts: number
}

/** The grid of a format and the fields that store it: w = scale * q + sign * offset, with the levels q in the field `q`. */
export interface GridLayout {
  /** Weights that share a scale, a multiple of four. */
  readonly groupSize: number
  readonly levels: Levels
  /** Which vectors of levels can be stored, where not all can. */
  readonly codebook?: Codebook
  readonly scale: Factor
  readonly offset?: Factor & { readonly sign: 1 | -1 }
}

export interface Format {
  /** ggml_type id. */
  readonly type: number
  /** ggml's upper-case name, e.g. `Q4_K`. */
  readonly name: string
  /** Weights per block. */
  readonly blockSize: number
  /** Bytes per block. */
  readonly blockBytes: number
  /** ggml_type id of the fallback for rows that its block size does not divide; absent: F16, or none for long blocks. */
  readonly smaller?: number
  /** Values per block of every field of `Codes`, in no particular order. */
  readonly fields: Readonly<Record<string, number>>
  /** Stored bytes (a whole number of blocks) to fields. */
  decode(bytes: Uint8Array): Codes
  /** The inverse of `decode`, byte for byte. */
  encode(codes: Codes): Uint8Array
  /** Dequantizes in ggml's order of operations, so that results are bit-identical. Codes that are weights already are not copied. */
  dequantize(codes: Codes): Float32Array
  /** What all weights of a tensor are multiplied by: a power of two, stored as a tensor of its own. Absent: 1. */
  readonly tensorScale?: number
  /** The format with such a scale. Present where the scales of groups span so few powers of two that small weights need one. */
  withTensorScale?(scale: number): Format
  /** The grid that training rounds to. Absent for float formats (F32, F16, BF16). */
  readonly grid?: GridLayout
  /** The grid of a format that stores several weights as one entry of a codebook: its weights are solved for, but do not train. */
  readonly vectors?: GridLayout & { readonly codebook: Codebook }
  /**
   * Latent values whose rounding gives exactly `codes`. `weights` are the full-precision ones (blocks * blockSize);
   * `codes` come from a quantizer. Present where `grid` is.
   */
  latents?(weights: Float32Array, codes: Codes): Latents
}
