/** The opponent of a trained file: the reference quantizer's files. */
import { type Divergence, meanGain } from './validation.js'

/** The better of the reference quantizer's files. */
export interface Opponent {
  readonly kind: 'plain' | 'importance'
  readonly divergence: Divergence
}

/** The validations of a run. */
export interface Validated {
  /** Of the reference quantizer without importances. */
  readonly plain: Divergence
  /** Of the reference quantizer with importances. */
  readonly weighed: Divergence
  readonly opponent: Opponent
  /** Of the last stage whose result is kept. */
  readonly kept: Divergence | undefined
}

export const opponentOf = (plain: Divergence, weighed: Divergence): Opponent =>
  meanGain(plain, weighed).mean > 0
    ? { kind: 'importance', divergence: weighed }
    : { kind: 'plain', divergence: plain }
