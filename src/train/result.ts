/** What a run gives: how good the file is on validation text, by kind, beside what the reference quantizer makes of the model. */

import type { StageReport, TrainOptions } from '../config/options.js'
import type { Metadata } from '../gguf/index.js'
import { recipeMetadata } from '../quantize/by-recipe.js'
import { inputKey } from '../resume/leftovers.js'
import type { Source } from '../student/source.js'
import { type MeanError, meanError } from '../validation/estimate.js'
import type { Opponent } from '../validation/opponent.js'
import { type Divergence, gains, meanGain, meanOf } from '../validation/validation.js'

export interface Result {
  readonly plain: Divergence
  readonly opponent: Opponent
  /** Of what is written. */
  readonly after: Divergence
}

/** How a file does on a kind of text. Divergences are in nats a token; `recovered` is the share of what `stock` loses that is gone. */
interface KindOutcome {
  readonly kind: string
  /** Of the user's own text, of which the run has trained on other parts: it is in no mean, and decided nothing. */
  readonly apart?: true
  /** The reference quantizer without importances. */
  readonly stock: MeanError
  /** The better of the reference quantizer's files. */
  readonly opponent: MeanError
  readonly file: MeanError
  readonly recovered: MeanError
  /** By how much the file loses less than the opponent, as a share of what that loses. */
  readonly gain: MeanError
}

export interface Outcome {
  readonly opponent: Opponent['kind']
  readonly kinds: readonly KindOutcome[]
  /** Mean over kinds. */
  readonly recovered: number
  readonly recoveredError: number
  /** The kind of which least is recovered. */
  readonly worst: string
}

export function outcomeOf({ plain, opponent, after }: Result): Outcome {
  const won = gains(plain, after)
  const ahead = gains(opponent.divergence, after)
  const kinds = plain.kinds.map(({ windows, ...kind }, k): KindOutcome => {
    const plainOnly = ({ mean, se }: MeanError): MeanError => ({ mean, se })
    return {
      ...kind,
      stock: meanError(windows),
      opponent: meanError(opponent.divergence.kinds[k].windows),
      file: meanError(after.kinds[k].windows),
      recovered: plainOnly(won[k]),
      gain: plainOnly(ahead[k]),
    }
  })
  const worst = kinds
    .filter(({ apart }) => !apart)
    .reduce((a, b) => (b.recovered.mean < a.recovered.mean ? b : a))
  const { mean, se } = meanGain(plain, after)
  return { opponent: opponent.kind, kinds, recovered: mean, recoveredError: se, worst: worst.kind }
}

/** Metadata of the written file. @param tokens that were trained on, counting repetitions */
export function resultMetadata(
  { gguf, fingerprint }: Source,
  { output, type }: TrainOptions,
  stages: readonly StageReport[],
  { steps, tokens }: { readonly steps: number; readonly tokens: number },
  { plain, after }: Result,
): Metadata {
  const metadata = recipeMetadata(gguf, output, type).set(inputKey, { type: 'string', value: fingerprint })
  const taken = stages.filter((stage) => stage.taken).map(({ stage }) => stage)
  if (taken.length === 0) return metadata
  // Of a last stage that was undone nothing is in the file.
  const kept = stages.at(-1)?.taken ?? false
  return metadata
    .set('quench.method', { type: 'string', value: taken.join('+') })
    .set('quench.steps', { type: 'uint32', value: kept ? steps : 0 })
    .set('quench.tokens', { type: 'uint64', value: BigInt(kept ? tokens : 0) })
    .set('quench.validation_kld_before', { type: 'float32', value: meanOf(plain).mean })
    .set('quench.validation_kld_after', { type: 'float32', value: meanOf(after).mean })
}
