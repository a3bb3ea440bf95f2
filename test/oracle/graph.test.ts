/** Every op of the graph on onnxruntime: its shape, its value against plain JavaScript, its gradient against differences. */
import { describe, expect, test } from 'vitest'
import * as graph from '../../src/graph/index.js'
import { Random } from '../../src/random.js'
import { type OpRow, opRows, type Read } from '../support/graph-ops.js'
import { run } from '../support/run.js'

const { constant, input, grad, mul, reshape } = graph

/** The largest error of a value or a gradient, where all of them are about 1: f32 with a few operations. */
const tolerance = 2e-5
/** Step of the central differences in f64. Their error is about step^2 times the third derivative. */
const step = 1e-5

const sizeOf = (shape: graph.Shape): number => shape.reduce((n, d) => n * d, 1)

/** Reads an array by an index that may have more axes or be longer on axes of length 1. */
function reader(values: ArrayLike<number>, shape: graph.Shape): Read {
  return (index) => {
    const lead = index.length - shape.length
    return values[shape.reduce((at, d, axis) => at * d + (d === 1 ? 0 : index[lead + axis]), 0)]
  }
}

function indexesOf(shape: graph.Shape): number[][] {
  return shape.reduce<number[][]>(
    (all, d) => all.flatMap((i) => [...Array(d).keys()].map((k) => [...i, k])),
    [[]],
  )
}

/** All elements of the formula of a row. */
function expected(row: OpRow, inputs: readonly ArrayLike<number>[]): number[] {
  const reads = inputs.map((values, k) => reader(values, row.inputs[k]))
  return indexesOf(row.shape).map((index) => row.value(index, ...reads))
}

/** Values that are exact in f32, not near a multiple of 1/16: so no comparison is on the edge. */
function sample(random: Random, shape: graph.Shape, positive: boolean): Float32Array {
  return Float32Array.from({ length: sizeOf(shape) }, () => {
    const magnitude = (random.int(24) + 0.25 + random.uniform() / 2) / 16
    return positive ? magnitude + 0.5 : magnitude * (random.int(2) ? 1 : -1)
  })
}

function expectClose(actual: ArrayLike<number>, wanted: readonly number[]): void {
  expect(actual.length).toBe(wanted.length)
  for (const [i, value] of wanted.entries())
    expect(Math.abs(actual[i] - value), `element ${i}: ${actual[i]}, not ${value}`).toBeLessThan(
      tolerance * (1 + Math.abs(value)),
    )
}

describe.each(opRows.map((row) => [row.note ? `${row.op}, ${row.note}` : row.op, row] as const))(
  '%s',
  (name, row) => {
    const random = new Random([...name].reduce((n, c) => 31 * n + c.charCodeAt(0), 0))
    const values = row.inputs.map((shape) => sample(random, shape, row.positive ?? false))
    const inputs = row.inputs.map((shape) => input(shape))
    const named = <T>(items: readonly T[], prefix = 'x'): Record<string, T> =>
      Object.fromEntries(items.map((x, k) => [`${prefix}${k}`, x]))
    const y = row.build(...inputs)

    test('value', async () => {
      expect(y.shape).toEqual(row.shape)
      const out = await run(named(inputs), { y }, named(values))
      expectClose(out.y, expected(row, values))
    })

    test('gradient', async () => {
      const dy = sample(random, row.shape, false)
      const dyInput = input(row.shape)
      if (row.gradient === 'none') {
        expect(() => grad(y, inputs, dyInput)).toThrow(/does not depend on tensor 0/)
        return
      }
      const gradients = grad(y, inputs, dyInput)
      expect(gradients.map((d) => d.shape)).toEqual(row.inputs)
      const out = await run({ ...named(inputs), dy: dyInput }, named(gradients, 'd'), {
        ...named(values),
        dy,
      })
      if (row.gradient === 'straight-through') return expectStraightThrough(row, out.d0, dy)

      const loss = (): number => expected(row, shifted).reduce((s, v, i) => s + v * dy[i], 0)
      const shifted = values.map((x) => Float64Array.from(x))
      for (const [k, x] of shifted.entries()) {
        const differences = Array.from(x, (before, i) => {
          x[i] = before + step
          const up = loss()
          x[i] = before - step
          const down = loss()
          x[i] = before
          return (up - down) / (2 * step)
        })
        expectClose(out[`d${k}`], differences)
      }
    })
  },
)

/** Rounding counts as the identity, so what is left is the factor by which the row multiplies its input before. */
function expectStraightThrough(row: OpRow, dx: Float32Array, dy: Float32Array): void {
  const factor = row.op === 'roundToFloat16' ? 100 : row.note === 'halves go up' ? 0 : 4
  expect(dx).toEqual(dy.map((d) => d * factor))
}

test('rounding gives no negative zero', async () => {
  const x = input([4])
  const { y } = await run({ x }, { y: graph.round(x) }, { x: Float32Array.of(-0.5, -0.3, -0, -1e-30) })
  expect([...y].every((v) => Object.is(v, 0))).toBe(true)
})

test('every op has a row', () => {
  const others = ['broadcastShape', 'constant', 'grad', 'gradOfAll', 'GraphError', 'input', 'Tensor']
  const ops = Object.keys(graph).filter((name) => !others.includes(name))
  expect([...new Set(opRows.map((row) => row.op))].sort()).toEqual(ops.sort())
})

describe('grad', () => {
  test('adds what flows along several ways, and stops at what is asked for', async () => {
    const x = input([3])
    const y = graph.exp(x)
    const z = graph.sum(mul(mul(y, y), x))
    const [dx, dy, dz] = grad(z, [x, y, z])
    const out = await run({ x }, { dx, dy, dz }, { x: Float32Array.of(0, 0.5, -1) })
    const xs = [0, 0.5, -1]
    expectClose(
      out.dx,
      xs.map((v) => Math.exp(2 * v) * (1 + 2 * v)),
    )
    expectClose(
      out.dy,
      xs.map((v) => 2 * v * Math.exp(v)),
    )
    expect(out.dz).toEqual(Float32Array.of(1))
  })

  test('a tensor that is built upon can be asked for after it was used in two places', async () => {
    const x = input([2])
    const shared = mul(x, 3)
    const [d] = grad(graph.sum(graph.concat([shared, reshape(shared, [2])], 0)), [shared])
    expect((await run({ x }, { d }, { x: Float32Array.of(1, 2) })).d).toEqual(Float32Array.of(2, 2))
  })

  test('of several results adds what flows back from each, also where one is made from another', async () => {
    const x = input([3])
    const y = graph.exp(x)
    const z = mul(y, 3)
    const gradients = graph.gradOfAll(
      [
        [y, constant([1, 2, 3])],
        [z, constant([1, 1, 10])],
      ],
      [x],
    )
    const xs = [0, 0.5, -1]
    const out = await run({ x }, { d: gradients[0] }, { x: Float32Array.from(xs) })
    expectClose(
      out.d,
      xs.map((v, i) => Math.exp(v) * ([1, 2, 3][i] + 3 * [1, 1, 10][i])),
    )
  })

  test('needs a loss of one element, a gradient of its shape, and something that depends', () => {
    const x = input([3])
    expect(() => grad(x, [x])).toThrow(/a loss must hold one element, not \[3\]/)
    expect(() => grad(x, [x], constant([1, 2]))).toThrow(/gradient of \[2\] for a value of \[3\]/)
    expect(() => grad(graph.sum(x), [input([3])])).toThrow(/does not depend on tensor 0 \(input\)/)
  })
})
