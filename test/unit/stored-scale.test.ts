/** Scales rounded all at once are those that are rounded one by one. */
import { describe, expect, it } from 'vitest'
import { factorsOf, layoutOf } from '../../src/formats/grids.js'
import { formats } from '../../src/formats/index.js'
import { roundScale, roundScales } from '../../src/formats/stored-scale.js'
import { Random } from '../../src/random.js'

const roundings = formats.flatMap((format) => {
  const layout = layoutOf(format)
  if (!layout) return []
  return factorsOf(layout).flatMap(({ block, group }) =>
    [block, ...(group ? [group] : [])].map(({ field, rounding }) => ({ format, field, rounding })),
  )
})

/** Any f32, of every size, infinite and not numbers too. */
function anyFloats(count: number): Float32Array {
  const random = new Random(7)
  return new Float32Array(Uint32Array.from({ length: count }, () => random.int(2 ** 32)).buffer)
}

describe.each(roundings)('$format.name, $field', ({ rounding }) => {
  it('rounds many scales as it rounds each', () => {
    const near = (value: number): number[] => {
      const bits = new Uint32Array(Float32Array.of(value).buffer)[0]
      return Array.from(new Float32Array(Uint32Array.of(bits - 1, bits, bits + 1).buffer))
    }
    const { values: list } = rounding.as === 'listed' ? rounding : { values: Float32Array.of(0.5, 1.5, 63) }
    const middles = Array.from(list.subarray(1), (value, i) => (list[i] + value) / 2)
    const values = Float32Array.from([
      ...anyFloats(50_000),
      ...[...list, ...middles].filter((value) => value > 0).flatMap(near),
      0,
      -0,
    ])
    const rounded = roundScales(rounding, values)
    const differs = (value: number, i: number): boolean =>
      !Object.is(rounded[i], Math.fround(roundScale(rounding, value)))
    expect(Array.from(values).filter(differs)).toEqual([])
  })
})
