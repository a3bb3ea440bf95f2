/** The result of a run: validation loss by kind of text, compared with the reference quantizer's files. */

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
  /** Of the written file. */
  readonly after: Divergence
}

/** Validation on one kind of text, in nats per token; `recovered` is the share of `stock` that `file` does not have. */
interface KindOutcome {
  readonly kind: string
  /** The user's own text, other parts of which the run has trained on: excluded from means and decisions. */
  readonly apart?: true
  /** The reference quantizer without importances. */
  readonly stock: MeanError
  /** The better of the reference quantizer's files. */
  readonly opponent: MeanError
  readonly file: MeanError
  readonly recovered: MeanError
  /** Relative reduction of the opponent's divergence. */
  readonly gain: MeanError
}

export interface Outcome {
  readonly opponent: Opponent['kind']
  readonly kinds: readonly KindOutcome[]
  /** Mean over kinds. */
  readonly recovered: number
  readonly recoveredError: number
  /** The kind that recovers least. */
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

/** Metadata of the written file. @param tokens trained on, counting repetitions */
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
  // A last stage that was undone leaves nothing in the file.
  const kept = stages.at(-1)?.taken ?? false
  return metadata
    .set('quench.method', { type: 'string', value: taken.join('+') })
    .set('quench.steps', { type: 'uint32', value: kept ? steps : 0 })
    .set('quench.tokens', { type: 'uint64', value: BigInt(kept ? tokens : 0) })
    .set('quench.validation_kld_before', { type: 'float32', value: meanOf(plain).mean })
    .set('quench.validation_kld_after', { type: 'float32', value: meanOf(after).mean })
}
