/** Coordinate descent on stored numbers: the error falls, the codes stay on the grid, the optimum lies in their cells. */
import { describe, expect, it, test } from 'vitest'
import { type Metric, refine } from '../../src/blockwise/refine.js'
import type { Codes, Format } from '../../src/formats/format.js'
import { gridOf } from '../../src/formats/grids.js'
import { nearest } from '../../src/formats/levels.js'
import { IQ4_NL } from '../../src/formats/types/iq4_nl.js'
import { IQ4_XS } from '../../src/formats/types/iq4_xs.js'
import { MXFP4 } from '../../src/formats/types/mxfp4.js'
import { NVFP4 } from '../../src/formats/types/nvfp4.js'
import { Q1_0 } from '../../src/formats/types/q1_0.js'
import { Q2_K } from '../../src/formats/types/q2_k.js'
import { Q3_K } from '../../src/formats/types/q3_k.js'
import { Q4_0 } from '../../src/formats/types/q4_0.js'
import { Q4_1 } from '../../src/formats/types/q4_1.js'
import { Random } from '../../src/random.js'
import { moments } from '../support/moments.js'
import { products } from '../support/products.js'

const out = 70 // more rows than a panel
/** Inputs: two blocks, or a few. */
const inputsOf = ({ blockSize }: Format): number => Math.max(128, 2 * blockSize)

/** tr(G E H E'). */
async function loss(
  weights: Float32Array,
  target: Float32Array,
  { inputs, outputs }: Metric,
): Promise<number> {
  const errors = weights.map((w, i) => w - target[i])
  const n = errors.length / out
  const right = await products.multiply(errors, inputs, [out, n, n])
  const both = outputs ? await products.multiply(outputs, right, [out, out, n]) : right
  return both.reduce((sum, x, i) => sum + x * errors[i], 0)
}

/** Codes of weights on a grid that is too coarse by a tenth, so that there is something to find for every number. */
function coarse(format: Format, weights: Float32Array): Codes {
  const blocks = weights.length / format.blockSize
  const codes: Codes = Object.fromEntries(
    Object.entries(format.fields).map(([name, count]) => [name, new Float32Array(blocks * count)]),
  )
  const { levels, scale, offset } = format.grid!
  const { group } = scale
  codes.d.fill(group ? 0.5 / 8 : 0.5)
  if (group) codes[group.field].fill(8)
  if (offset) codes[offset.block.field].fill(offset.group ? 0.25 : -1)
  if (offset?.group) codes[offset.group.field].fill(4)
  const grid = gridOf(format.grid!, codes)
  const size = weights.length / grid.scales.length
  codes.q = weights.map((w, i) => {
    const at = Math.floor(i / size)
    return nearest(levels, (w + (grid.mins?.[at] ?? 0)) / grid.scales[at])
  })
  return codes
}

describe.each([Q4_0, Q4_1, Q3_K, Q2_K, IQ4_NL, IQ4_XS, MXFP4, NVFP4, Q1_0])('refine of $name', (format) => {
  const n = inputsOf(format)
  it.each([true, false])(
    'lowers the error with every sweep, on the grid of the format, rows together: %s',
    async (together) => {
      const random = new Random(7)
      const inputs = moments(n, random)
      const metric: Metric = together ? { inputs, outputs: moments(out, random) } : { inputs }
      const target = Float32Array.from({ length: out * n }, () => random.normal())
      const codes = coarse(format, target)
      let before = await loss(format.dequantize(codes), target, metric)
      for (let sweep = 0; sweep < 2; sweep++) {
        const optimum = await refine(
          codes,
          format.grid!,
          target,
          format.dequantize(codes),
          metric,
          1,
          products,
        )
        const after = await loss(format.dequantize(codes), target, metric)
        expect(after).toBeLessThan(0.99 * before)
        before = after
        expect(optimum.every(Number.isFinite)).toBe(true)
      }
      expect(format.decode(format.encode(codes))).toEqual(codes)
    },
  )

  it('leaves alone what has no error', async () => {
    const random = new Random(8)
    const codes = coarse(
      format,
      Float32Array.from({ length: out * n }, () => random.normal()),
    )
    const exact = format.dequantize(codes)
    const before = structuredClone(codes)
    const metric = { inputs: moments(n, random), outputs: moments(out, random) }
    await refine(codes, format.grid!, exact, exact, metric, 1, products)
    expect(codes).toEqual(before)
  })
})

test.each([Q3_K, Q2_K])(
  'numbers that groups of $name share are found where they were wrong',
  async (format) => {
    const n = inputsOf(format)
    const random = new Random(9)
    const inputs = moments(n, random)
    const right = coarse(
      format,
      Float32Array.from({ length: out * n }, () => random.normal()),
    )
    const target = format.dequantize(right)
    const { scale, offset } = format.grid!
    for (const { block } of offset ? [scale, offset] : [scale]) {
      const wrong = structuredClone(right)
      wrong[block.field] = wrong[block.field].map((d) => 1.0625 * d)
      const before = await loss(format.dequantize(wrong), target, { inputs })
      for (let sweep = 0; sweep < 3; sweep++)
        await refine(wrong, format.grid!, target, format.dequantize(wrong), { inputs }, 1, products)
      expect(await loss(format.dequantize(wrong), target, { inputs })).toBeLessThan(0.3 * before)
      expect(format.decode(format.encode(wrong))).toEqual(wrong)
    }
  },
)
