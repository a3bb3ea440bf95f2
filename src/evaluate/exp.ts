/**
 * exp(x) for x <= 0, the inner loop of evaluation: scoring with Math.exp takes twice as long.
 *
 * x = -(k + f) * ln(2)/256 with k an integer and 0 <= f < 1, so exp(x) = 2^-(k div 256) * 2^-((k mod 256)/256) * exp(-f
 * ln(2)/256); the first two factors come from tables, the last from its Taylor series of degree 3, whose relative error is
 * 2.3e-12. Below -700 the result is 0. Equal arguments give equal results, so the divergence of a row from itself is exactly
 * 0.
 */
const stepsPerNat = 256 / Math.LN2
const step = Math.LN2 / 256
const fractions = Float64Array.from({ length: 256 }, (_, i) => 2 ** (-i / 256))
const powers = Float64Array.from({ length: 1100 }, (_, i) => 2 ** -i)

/** exp of a number that is not positive; NaN stays NaN. */
export function expOfNegative(x: number): number {
  if (x < -700) return 0
  const k = (-x * stepsPerNat) | 0
  const r = x + k * step
  return fractions[k & 255] * powers[k >> 8] * (1 + r * (1 + r * (1 / 2 + r * (1 / 6))))
}
