/** Grids are found in weights that lie on one, kept by the type that holds them, and not found in others. */
import { describe, expect, test } from 'vitest'
import { emptyCodes } from '../../src/formats/blocks.js'
import { roundingOf } from '../../src/formats/float-rounding.js'
import { bfloatsToFloats, floatsToBfloats, floatsToHalves, halvesToFloats } from '../../src/formats/half.js'
import { formatNamed, formats } from '../../src/formats/table.js'
import { detectLattice, type Lattice } from '../../src/lattice/detect.js'
import { smallestHolder } from '../../src/lattice/file.js'
import { describeLattice, detectLattices } from '../../src/lattice/index.js'
import { placeOnGrid } from '../../src/lattice/place.js'
import { Random } from '../../src/random.js'
import { conventions, differingCodes, onGrid, type Stored, storedAs } from '../support/lattice-conventions.js'

const [rows, columns] = [12, 512]

function gaussian(seed: number, size = 0.02): Float32Array<ArrayBuffer> {
  const random = new Random(seed)
  return Float32Array.from({ length: rows * columns }, () => size * random.normal())
}

/** Greatest relative rms of what is left, by what stored the weights: that of an F16 scale and offset, and of rounding. */
const mostLeft: Readonly<Record<Stored, number>> = { F32: 5e-4, F16: 6e-4, BF16: 2e-3 }

describe.each(conventions)('$name', (convention) => {
  const { type, lostAsBf16, found } = convention
  test.each(storedAs)('stored as %s', (as) => {
    const made = onGrid(convention, gaussian(1), columns, as)
    const lattice = detectLattice(made.values, columns)
    if (as === 'BF16' && lostAsBf16) {
      expect(lattice).toBeUndefined()
      return
    }
    expect(lattice).toMatchObject({ groupSize: made.group, share: 1, ...found })
    expect(smallestHolder(made.values, columns, lattice as Lattice)).toBe(type)
    const format = formatNamed(type)!
    const codes = emptyCodes(format, made.values.length / format.blockSize)
    const { groups, kept, squares, squaredError } = placeOnGrid(format, made.values, codes)!
    expect(kept).toBe(groups)
    // What a file gives back, to the sign of zero: training computes with these codes.
    const read = format.decode(format.encode(codes))
    for (const [field, values] of Object.entries(codes))
      expect(values.findIndex((code, i) => !Object.is(code, read[field][i]))).toBe(-1)
    const stored = format.dequantize(read)
    expect(differingCodes(made, stored)).toBe(0)
    expect(Math.sqrt(squaredError / squares)).toBeLessThan(mostLeft[as])
    const difference = stored.reduce((sum, w, i) => sum + (w - made.values[i]) ** 2, 0)
    expect(squaredError).toBeCloseTo(difference, 10)
  })
})

test('a grid of another size or with too many levels is not held by a type', () => {
  const [fine] = conventions.filter(({ name }) => name.startsWith('absmax/127'))
  const { values } = onGrid(fine, gaussian(3), columns, 'F32')
  const format = formatNamed('Q4_0')!
  expect(placeOnGrid(format, values, emptyCodes(format, values.length / 32))?.kept).toBe(0)
  for (const format of formats.filter(({ grid }) => !grid || grid.scale.group))
    expect(placeOnGrid(format, values, {})).toBeUndefined()
})

test('groups off the grid stay as the quantizer made them', () => {
  const { values } = onGrid(conventions[0], gaussian(4), columns, 'F32')
  values[40] += 1e-4
  const format = formatNamed('Q4_0')!
  const codes = emptyCodes(format, values.length / 32)
  codes.d[1] = 7
  expect(placeOnGrid(format, values, codes)).toMatchObject({
    groups: values.length / 32,
    kept: values.length / 32 - 1,
  })
  expect(codes.d[1]).toBe(7)
  expect(detectLattice(values, columns)?.share).toBeCloseTo(1 - 32 / values.length)
})

test.each([1, 0.02, 1e-5])('weights of size %d that were never rounded to a grid lie on none', (size) => {
  const weights = gaussian(2, size)
  expect(detectLattice(weights, columns)).toBeUndefined()
  expect(detectLattice(halvesToFloats(floatsToHalves(weights)), columns)).toBeUndefined()
  expect(detectLattice(bfloatsToFloats(floatsToBfloats(weights)), columns)).toBeUndefined()
})

test('zeros and a few weights among zeros tell of no grid', () => {
  const weights = new Float32Array(rows * columns)
  expect(detectLattice(weights, columns)).toBeUndefined()
  weights[700] = 0.3
  expect(detectLattice(weights, columns)).toBeUndefined()
})

test('NaN and infinity are on no grid', () => {
  for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
    const { values } = onGrid(conventions[0], gaussian(5), columns, 'F32')
    values.fill(bad)
    expect(detectLattice(values, columns)).toBeUndefined()
  }
})

test('the model that ships lies on no grid', async () => {
  expect(await detectLattices('models/quench-5m-f16.gguf')).toMatchObject({ tensors: [], matrices: 36 })
})

test('the rounding of values is that of the coarsest float that holds them', () => {
  const name = (values: Float32Array) => roundingOf(new Uint32Array(values.buffer.slice(0))).name
  const weights = gaussian(6)
  const [halves, bfloats] = [floatsToHalves(weights), floatsToBfloats(weights)]
  expect(name(weights)).toBe('F32')
  expect(name(halvesToFloats(halves))).toBe('F16')
  expect(name(bfloatsToFloats(bfloats))).toBe('BF16')
  // BF16 stored as F16, which has rounded the small ones once more.
  const small = bfloatsToFloats(floatsToBfloats(gaussian(6, 1e-6)))
  small[0] = 1
  expect(name(halvesToFloats(floatsToHalves(small)))).toBe('BF16')
})

test('every half is known as one', () => {
  const all = halvesToFloats(Uint16Array.from({ length: 0x7c00 }, (_, bits) => bits))
  const odd = new Uint32Array([0x3f800001])
  expect(roundingOf(odd).name).toBe('F32')
  expect(roundingOf(new Uint32Array(all.buffer)).name).toBe('F16')
  const between = new Uint32Array(Float32Array.of(2 ** -24 * 1.5).buffer)
  expect(roundingOf(Uint32Array.of(...between, 0x3f801000)).name).toBe('F32')
})

test('a grid in words', () => {
  const { values } = onGrid(conventions[0], gaussian(1), columns, 'BF16')
  expect(describeLattice(detectLattice(values, columns) as Lattice)).toBe(
    'levels -7 to 7 in groups of 32, step absmax/7, stored as BF16',
  )
})
