/** What a trained file has to beat: what the reference quantizer makes of the model. */
import { type Divergence, meanGain } from './validation.js'

/** What a trained file has to be better than: the better of the reference quantizer's files. */
export interface Opponent {
  readonly kind: 'plain' | 'importance'
  readonly divergence: Divergence
}

/** Divergences that a run knows. */
export interface Validated {
  /** Of the reference quantizer without importances. */
  readonly plain: Divergence
  /** With them. */
  readonly weighed: Divergence
  readonly opponent: Opponent
  /** Of what the last stage that stays has made. */
  readonly kept: Divergence | undefined
}

export const opponentOf = (plain: Divergence, weighed: Divergence): Opponent =>
  meanGain(plain, weighed).mean > 0
    ? { kind: 'importance', divergence: weighed }
    : { kind: 'plain', divergence: plain }
