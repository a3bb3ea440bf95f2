/**
 * A type for every tensor so that the sum of bytes stays within a budget and the sum of losses is small: a knapsack with one choice for
 * each tensor. From the smallest types on, the step that saves most loss for its bytes is taken again and again; what is left of the
 * budget goes to whatever still fits.
 */

/** A type that a tensor may have. */
export interface Choice {
  /** ggml_type id. */
  readonly type: number
  readonly bytes: number
  /** Estimated loss, in any unit that all tensors share. */
  readonly loss: number
}

/** The choice for each tensor; undefined if the smallest types exceed the budget. */
export function chooseWithin(
  options: ReadonlyMap<string, readonly Choice[]>,
  budget: number,
): Map<string, Choice> | undefined {
  const fronts = new Map(Array.from(options, ([name, choices]) => [name, frontOf(choices)]))
  const chosen = new Map(Array.from(fronts, ([name, front]) => [name, front[0]]))
  let left = budget
  for (const { bytes } of chosen.values()) left -= bytes
  if (left < 0) return undefined
  for (;;) {
    let best: { name: string; choice: Choice; rate: number } | undefined
    for (const [name, front] of fronts) {
      const now = chosen.get(name) as Choice
      for (const choice of front) {
        const more = choice.bytes - now.bytes
        if (more <= 0 || more > left) continue
        const rate = (now.loss - choice.loss) / more
        if (!best || rate > best.rate) best = { name, choice, rate }
      }
    }
    if (!best) return chosen
    left -= best.choice.bytes - (chosen.get(best.name) as Choice).bytes
    chosen.set(best.name, best.choice)
  }
}

/** Choices of which none is both smaller and better, the smallest first. */
function frontOf(choices: readonly Choice[]): Choice[] {
  const front: Choice[] = []
  for (const choice of choices.toSorted((a, b) => a.bytes - b.bytes || a.loss - b.loss))
    if (choice.loss < (front.at(-1)?.loss ?? Number.POSITIVE_INFINITY)) front.push(choice)
  return front
}
