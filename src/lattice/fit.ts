/**
 * Whether the weights of one group are whole multiples of a step, or an offset and whole multiples of a step, within what rounding to
 * the stored floats has changed. No tolerance is chosen: a stored weight stands for an interval (formats/float-rounding.ts), and the
 * group lies on a lattice if one step reaches into the interval of every weight.
 *
 * The step is found by trying what the largest weight is a multiple of. So the lattice with the fewest levels comes first.
 *
 * A group of a few weights may fit by chance. Its evidence says how unlikely that is: the share of all values that are near enough to
 * a multiple, multiplied over the weights, as bits. Weights of a trained model have none, since the first few contradict each other.
 */
import type { FloatRounding } from '../formats/float-rounding.js'

/** Greatest multiple that is tried, that of eight-bit codes. */
const mostLevels = 127
const reciprocals = Float64Array.from({ length: mostLevels + 2 }, (_, code) => 1 / code)

/** A group on a lattice: weight = step * code + offset, within the rounding of the weights. */
export interface Fit {
  readonly step: number
  /** The steps for which that holds. */
  readonly low: number
  readonly high: number
  /** 0 for multiples of the step. */
  readonly offset: number
  /** The least and the greatest code. */
  readonly least: number
  readonly greatest: number
  /** How many bits of chance it would take a group of other weights to fit as well. */
  readonly evidence: number
}

/** Values with the bits of the same f32, and how they were rounded. */
export interface Weights {
  readonly values: Float32Array
  readonly bits: Uint32Array
  readonly rounding: FloatRounding
}

/** The greatest multiple that can be told from its neighbours after rounding. */
const distinctLevels = ({ relative }: FloatRounding): number =>
  Math.min(mostLevels, Math.floor(1 / (4 * relative)))

/**
 * The coarsest lattice of multiples of a step.
 * @param codes takes the codes of the group from 0 on
 * @param first is tried before all others, for groups that are alike
 */
export function fitMultiples(
  { values, bits, rounding }: Weights,
  start: number,
  length: number,
  codes: Int16Array,
  first = 1,
): Fit | undefined {
  let [at, largest] = [start, 0]
  for (let i = start; i < start + length; i++) {
    const size = Math.abs(values[i])
    if (!(size <= largest)) [at, largest] = [i, size]
  }
  if (largest === 0) {
    codes.fill(0, 0, length)
    return { step: 0, low: 0, high: 0, offset: 0, least: 0, greatest: 0, evidence: 0 }
  }
  if (!Number.isFinite(largest)) return undefined
  const { errors } = rounding
  const error = errors[(bits[at] >>> 23) & 255]
  const most = distinctLevels(rounding)
  for (let turn = 0; turn <= most; turn++) {
    const multiple = turn === 0 ? first : turn
    if ((turn === first && turn > 0) || multiple > most) continue
    let low = (largest - error) / multiple
    let high = (largest + error) / multiple
    let inverse = 2 / (low + high)
    let evidence = -Math.log2(most)
    // Of chances, whose logarithms are added up before it becomes too small.
    let product = 1
    let i = 0
    for (; i < length; i++) {
      const value = values[start + i]
      const size = Math.abs(value)
      // Rounded by truncation of a positive number.
      const signed = ((value * inverse + (mostLevels + 0.5 + 1)) | 0) - (mostLevels + 1)
      codes[i] = signed
      const code = signed < 0 ? -signed : signed
      if (code === 0) {
        if (size !== 0) break
        continue
      }
      if (start + i === at) continue
      const spread = errors[(bits[start + i] >>> 23) & 255]
      const width = (2 * spread + code * (high - low)) * inverse
      if (width < 1) {
        product *= width
        if (product < 2 ** -900) {
          evidence -= Math.log2(product)
          product = 1
        }
      }
      const from = (size - spread) * reciprocals[code]
      const to = (size + spread) * reciprocals[code]
      if (from > low || to < high) {
        if (from > low) low = from
        if (to < high) high = to
        if (low > high) break
        inverse = 2 / (low + high)
      }
    }
    if (i < length) continue
    return reduced(values, start, length, codes, low, high, evidence - Math.log2(product))
  }
  return undefined
}

/** The fit of codes that were found, without a factor that all of them share. */
function reduced(
  values: Float32Array,
  start: number,
  length: number,
  codes: Int16Array,
  low: number,
  high: number,
  evidence: number,
): Fit {
  let factor = 0
  for (let i = 0; i < length && factor !== 1; i++) factor = commonFactor(factor, Math.abs(codes[i]))
  let [least, greatest, products, squares] = [0, 0, 0, 0]
  for (let i = 0; i < length; i++) {
    const code = factor === 1 ? codes[i] : codes[i] / factor
    codes[i] = code
    if (code < least) least = code
    if (code > greatest) greatest = code
    products += code * values[start + i]
    squares += code * code
  }
  const range = [low * factor, high * factor] as const
  const step = Math.min(range[1], Math.max(range[0], products / squares))
  return { step, low: range[0], high: range[1], offset: 0, least, greatest, evidence }
}

function commonFactor(a: number, b: number): number {
  while (b !== 0) [a, b] = [b, a % b]
  return a
}

/**
 * The coarsest lattice of an offset, the least weight, and multiples of a step; codes begin at 0.
 * @param most the greatest code
 */
export function fitShifted(
  { values, bits, rounding }: Weights,
  start: number,
  length: number,
  codes: Int16Array,
  most: number,
  first = 1,
): Fit | undefined {
  let [from, to] = [start, start]
  for (let i = start; i < start + length; i++) {
    if (!(values[i] >= values[from])) from = i
    if (!(values[i] <= values[to])) to = i
  }
  const [offset, range] = [values[from], values[to] - values[from]]
  if (!Number.isFinite(range)) return undefined
  if (range === 0) {
    codes.fill(0, 0, length)
    return { step: 0, low: 0, high: 0, offset, least: 0, greatest: 0, evidence: 0 }
  }
  const errorOf = (i: number): number => rounding.errors[(bits[i] >>> 23) & 255]
  // Near 0 a weight may be the small difference of a product and an offset that were each rounded.
  const arithmetic = 2 ** -23 * Math.max(range, Math.abs(offset))
  const [below, above] = [errorOf(from) + arithmetic, errorOf(to) + arithmetic]
  for (let turn = 0; turn <= most; turn++) {
    const greatest = turn === 0 ? first : turn
    if ((turn === first && turn > 0) || greatest > most) continue
    const step = range / greatest
    if (below + above > step / 2) break
    let evidence = -Math.log2(most)
    let i = 0
    for (; i < length; i++) {
      const rise = values[start + i] - offset
      const code = Math.round(rise / step)
      codes[i] = code
      if (start + i === from || start + i === to) continue
      const share = code / greatest
      const spread = errorOf(start + i) + below * (1 - share) + above * share
      if (Math.abs(rise - code * step) > spread) break
      const width = (2 * spread) / step
      // Zeros may come from elsewhere, such as pruning, and tell of no offset.
      if (width < 1 && values[start + i] !== 0) evidence -= Math.log2(width)
    }
    if (i < length) continue
    return shifted(values, start, length, codes, greatest, [below + above, evidence])
  }
  return undefined
}

/** The step and offset of least squares for codes that were found. */
function shifted(
  values: Float32Array,
  start: number,
  length: number,
  codes: Int16Array,
  greatest: number,
  [error, evidence]: readonly [error: number, evidence: number],
): Fit {
  let [codeSum, valueSum] = [0, 0]
  for (let i = 0; i < length; i++) {
    codeSum += codes[i]
    valueSum += values[start + i]
  }
  const [code, value] = [codeSum / length, valueSum / length]
  let [products, squares] = [0, 0]
  for (let i = 0; i < length; i++) {
    products += (codes[i] - code) * (values[start + i] - value)
    squares += (codes[i] - code) ** 2
  }
  const step = products / squares
  const half = error / greatest
  return {
    step,
    low: step - half,
    high: step + half,
    offset: value - code * step,
    least: 0,
    greatest,
    evidence,
  }
}
