/**
 * Descent on the codes of codebooks: the error falls, codes stay in the codebook, vectors are the nearest ones that can be stored, and where
 * columns go together the best of the eight of every part that the diagonal ranks first.
 */
import { describe, expect, it } from 'vitest'
import { inDescent } from '../../src/blockwise/descent.js'
import { type Metric, refine } from '../../src/blockwise/refine.js'
import { enterVectors, improveVectors } from '../../src/blockwise/vectors.js'
import type { Codebook, Codes, Format } from '../../src/formats/format.js'
import { formats } from '../../src/formats/table.js'
import { Random } from '../../src/random.js'
import { moments } from '../support/moments.js'
import { products } from '../support/products.js'

const [out, n] = [66, 256]
const withCodebook = formats.filter(({ vectors }) => vectors)

/** tr(G E H E'). */
async function loss(format: Format, codes: Codes, target: Float32Array, metric: Metric): Promise<number> {
  const errors = format.dequantize(codes).map((w, i) => w - target[i])
  const right = await products.multiply(errors, metric.inputs, [out, n, n])
  const both = metric.outputs ? await products.multiply(metric.outputs, right, [out, out, n]) : right
  return both.reduce((sum, x, i) => sum + x * errors[i], 0)
}

/** Any bytes, with one scale for all blocks. */
function anyCodes(format: Format, random: Random, d: number): Codes {
  const blocks = (out * n) / format.blockSize
  const bytes = new Uint8Array(blocks * format.blockBytes).map(() => Math.floor(256 * random.uniform()))
  const codes = format.decode(bytes)
  codes.d.fill(d)
  return codes
}

/** The scale at which codes are about as large as weights of one. */
const scaleOf = ({ vectors }: Format): number => {
  const scales = vectors?.scale.group?.rounding
  const middle = scales?.as === 'listed' ? scales.values[scales.values.length / 2] : 1
  return 2 ** Math.round(Math.log2(2 / ((vectors?.levels.hi ?? 1) * middle)))
}

describe.each(withCodebook)('refine of $name', (format) => {
  it.each([true, false])('lowers the error with every sweep, rows together: %s', async (together) => {
    const random = new Random(7)
    const inputs = moments(n, random)
    const metric: Metric = together ? { inputs, outputs: moments(out, random) } : { inputs }
    const target = Float32Array.from({ length: out * n }, () => random.normal())
    const codes = anyCodes(format, random, scaleOf(format))
    const errors = [await loss(format, codes, target, metric)]
    for (let sweep = 0; sweep < 3; sweep++) {
      await refine(codes, format.vectors!, target, format.dequantize(codes), metric, 1, products)
      errors.push(await loss(format, codes, target, metric))
      expect(format.decode(format.encode(codes))).toEqual(codes)
    }
    for (const [sweep, error] of errors.entries())
      if (sweep > 0) expect(error).toBeLessThan(errors[sweep - 1])
    expect(errors[3]).toBeLessThan(errors[0] / 2)
  })

  it('takes the nearest vectors where columns do not go together', async () => {
    const random = new Random(3)
    const inputs = new Float32Array(n * n)
    for (let i = 0; i < n; i++) inputs[i * n + i] = 1 + random.uniform()
    const target = Float32Array.from({ length: out * n }, () => random.normal())
    const codes = anyCodes(format, random, scaleOf(format))
    const { groupSize, codebook } = format.vectors!
    const together = codebook.parts > 1 ? groupSize : 8
    await refine(codes, format.vectors!, target, format.dequantize(codes), { inputs }, 6, products)
    const scales = Float32Array.from(
      codes.scales,
      (s, group) => s * codes.d[Math.floor((group * groupSize) / 256)],
    )
    let [found, best] = [0, 0]
    for (let i = 0; i < 40 * 8; i += together) {
      const scale = scales[(i / groupSize) | 0]
      const wanted = Array.from(target.subarray(i, i + together), (w) => w / scale)
      const weights = Array.from({ length: together }, (_, k) => inputs[((i + k) % n) * (n + 1)])
      const error = wanted.reduce((sum, w, k) => sum + weights[k] * (w - codes.q[i + k]) ** 2, 0)
      const least = leastError(codebook, wanted, weights)
      expect(error).toBeGreaterThanOrEqual(least * (1 - 1e-5))
      found += error
      best += least
    }
    // With odd signs a few entries are passed over; else it is the nearest one.
    expect(found / best).toBeLessThan(codebook.signs === 'even' ? 1.02 : 1.00001)
  })
})

describe.each(withCodebook.filter(({ vectors }) => vectors!.codebook.signs !== 'even'))(
  'a vector of $name',
  (format) => {
    const { codebook, levels } = format.vectors!
    const { size, entries, parts } = codebook
    const own = codebook.signs === 'own'
    const count = entries.length / size

    it('is the best of eight where columns go together', () => {
      const random = new Random(11)
      for (let trial = 0; trial < 50; trial++) {
        // The first vector of eight columns; others are apart from it.
        const metric = moments(8, random)
        for (let i = 0; i < 64; i++) if (i % 8 >= size !== i >= 8 * size) metric[i] = 0
        const target = Array.from({ length: 8 }, () => (random.normal() * levels.hi) / 2)
        const first = (trial * 97) % count
        const before = Array.from({ length: 8 }, (_, i) => entries[first * size + (i % size)])
        inDescent.block.set(metric)
        for (let i = 0; i < 8; i++) {
          inDescent.diagonal[i] = metric[9 * i]
          inDescent.codes[i] = before[i]
          inDescent.slope[i] = 0
          for (let j = 0; j < 8; j++) inDescent.slope[i] += 0.5 * metric[8 * i + j] * (before[j] - target[j])
        }
        enterVectors(codebook, 8)
        improveVectors(0, 8, 0.5)
        const errorOf = (codes: ArrayLike<number>): number => {
          let error = 0
          for (let i = 0; i < size; i++)
            for (let j = 0; j < size; j++)
              error += (codes[i] - target[i]) * metric[8 * i + j] * (codes[j] - target[j])
          return error
        }
        const ranked = Array.from({ length: count }, (_, entry) => {
          const signs = target.map((t) => (own ? 1 : Math.sign(t)))
          const codes = target.slice(0, size).map((_, i) => signs[i] * entries[entry * size + i])
          const rank = codes.reduce((sum, code, i) => sum + metric[9 * i] * (code - target[i]) ** 2, 0)
          return { codes, rank }
        })
        const errors = Array.from({ length: parts }, (_, part) =>
          ranked
            .slice((part * count) / parts, ((part + 1) * count) / parts)
            .sort((a, b) => a.rank - b.rank)
            .slice(0, 8)
            .map(({ codes }) => errorOf(codes)),
        )
        const least = Math.min(errorOf(before), ...errors.flat())
        expect(Math.abs(errorOf(inDescent.codes) / least - 1)).toBeLessThan(1e-5)
      }
    })
  },
)

/** The least error of codes, over all entries that they can be and all signs that can be stored. */
function leastError(codebook: Codebook, wanted: readonly number[], weights: readonly number[]): number {
  if (codebook.signs !== 'own') return leastWithSigns(codebook, wanted, weights)
  const { size, entries, parts } = codebook
  const length = entries.length / parts
  const sums = Array.from({ length: parts }, (_, part) => {
    let sum = 0
    for (let first = 0; first < wanted.length; first += size) {
      let least = Number.POSITIVE_INFINITY
      for (let entry = part * length; entry < (part + 1) * length; entry += size) {
        let error = 0
        for (let k = first; k < first + size; k++)
          error += weights[k] * (wanted[k] - entries[entry + k - first]) ** 2
        least = Math.min(least, error)
      }
      sum += least
    }
    return sum
  })
  return Math.min(...sums)
}

/** The same for eight codes whose magnitudes are in the codebook. */
function leastWithSigns(
  { size, entries, signs: stored }: Codebook,
  wanted: readonly number[],
  weights: readonly number[],
): number {
  /** Least errors of the eight with an even and an odd number of negative codes. */
  let sums = [0, Number.POSITIVE_INFINITY]
  for (let first = 0; first < 8; first += size) {
    const least = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]
    for (let entry = 0; entry < entries.length; entry += size)
      for (let signs = 0; signs < 1 << size; signs++) {
        let [error, parity] = [0, 0]
        for (let k = 0; k < size; k++) {
          const negative = (signs >> k) & 1
          parity ^= negative
          const code = (negative ? -1 : 1) * entries[entry + k]
          error += weights[first + k] * (wanted[first + k] - code) ** 2
        }
        least[parity] = Math.min(least[parity], error)
      }
    sums = [
      Math.min(sums[0] + least[0], sums[1] + least[1]),
      Math.min(sums[0] + least[1], sums[1] + least[0]),
    ]
  }
  return stored === 'even' ? sums[0] : Math.min(...sums)
}
