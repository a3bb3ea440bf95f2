/** Graphs that do not fit together, and what becomes of inputs and outputs when a graph is lowered. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { cpu } from '../../src/backends/cpu/cpu.js'
import * as g from '../../src/graph/index.js'
import { lower } from '../../src/graph/lower.js'
import { unshape } from '../../src/graph/unshape.js'
import { device, host } from '../support/device.js'
import { run } from '../support/run.js'

const { input } = g

describe('what does not fit is a GraphError that names the op and the shapes', () => {
  const rows: [name: string, build: () => g.Tensor, message: RegExp][] = [
    ['add', () => g.add(input([2, 3]), input([2, 4])), /^add\(\[2, 3\] and \[2, 4\]\): .*broadcast/],
    ['less', () => g.less(input([2]), input([3])), /^less\(\[2\] and \[3\]\): .*broadcast/],
    ['where', () => g.where(g.less(input([2]), 0), input([3]), 1), /^where\(\[2\] and \[3\] and \[\]\)/],
    ['clip', () => g.clip(input([2]), 1, 0), /^clip\(\[2\]\): the lower bound 1 is above/],
    ['clip NaN', () => g.clip(input([2]), Number.NaN, 0), /^clip\(\[2\]\)/],
    ['matmul', () => g.matmul(input([2, 3]), input([4, 5])), /^matmul\(\[2, 3\] and \[4, 5\]\): .*3 and 4/],
    ['matmul transposed', () => g.matmul(input([2, 3]), input([3, 2]), { transB: true }), /3 and 2 differ/],
    [
      'matmul vector',
      () => g.matmul(input([3]), input([3])),
      /^matmul\(\[3\] and \[3\]\): needs two matrices/,
    ],
    ['matmul batch', () => g.matmul(input([2, 3, 4]), input([3, 4, 5])), /the batches differ/],
    ['sum', () => g.sum(input([2]), [1]), /^sum\(\[2\]\): axes 1/],
    ['expand', () => g.expand(input([2]), [3]), /^expand\(\[2\]\): does not broadcast to \[3\]/],
    ['softmax', () => g.softmax(input([])), /^softmax\(\[\]\)/],
    ['logSoftmax', () => g.logSoftmax(input([])), /^logSoftmax\(\[\]\)/],
    ['rmsNorm', () => g.rmsNorm(input([2, 3]), input([2]), 1), /^rmsNorm\(\[2, 3\] and \[2\]\)/],
    ['reshape', () => g.reshape(input([2, 3]), [4]), /^reshape\(\[2, 3\]\): .*\[4\]/],
    ['transpose', () => g.transpose(input([2, 3]), [0, 0]), /^transpose\(\[2, 3\]\): 0, 0 does not permute/],
    ['slice', () => g.slice(input([4]), 0, 2, 5), /^slice\(\[4\]\): no elements 2..5 on axis 0/],
    ['slice axis', () => g.slice(input([4]), 1, 0, 1), /^slice\(\[4\]\)/],
    ['slice empty', () => g.slice(input([4]), 0, 2, 2), /^slice\(\[4\]\)/],
    ['concat', () => g.concat([input([2, 3]), input([3, 3])], 1), /^concat\(\[2, 3\] and \[3, 3\]\)/],
    ['concat ranks', () => g.concat([input([2, 3]), input([2])], 1), /^concat\(\[2, 3\] and \[2\]\)/],
    ['concat axis', () => g.concat([input([2]), input([2])], 1), /^concat\(\[2\] and \[2\]\)/],
    ['gather', () => g.gather(input([2, 3]), input([2])), /^gather\(\[2, 3\] and \[2\]\)/],
    [
      'scatterAdd',
      () => g.scatterAdd(input([3], 'int32'), input([2, 2]), 4),
      /^scatterAdd\(\[3\] and \[2, 2\]\)/,
    ],
    ['constant', () => g.constant([1, 2, 3], [2, 2]), /^constant: 3 values do not fill \[2, 2\]/],
  ]
  test.each(rows)('%s', (_, build, message) => {
    expect(build).toThrow(g.GraphError)
    expect(build).toThrow(message)
  })

  test('shapes broadcast in both orders alike', () => {
    const shape = fc.array(fc.constantFrom(1, 2, 3), { maxLength: 4 })
    const attempt = (a: g.Shape, b: g.Shape): g.Shape | string => {
      try {
        return g.add(input(a), input(b)).shape
      } catch {
        return 'none'
      }
    }
    const property = fc.property(shape, shape, (a, b) => {
      expect(attempt(a, b)).toEqual(attempt(b, a))
    })
    fc.assert(property, { seed: 1 })
  })
})

describe('lower', () => {
  const one = Float32Array.of(1, 2)

  test('cuts the program at an input that is not a leaf', async () => {
    const x = input([2])
    const y = g.exp(x)
    const z = g.mul(y, y)
    expect((await run({ y }, { z }, { y: one })).z).toEqual(Float32Array.of(1, 4))
  })

  test('drops inputs that nothing depends on', async () => {
    const [x, unused] = [input([2]), input([3])]
    expect((await run({ x, unused }, { y: g.mul(x, 2) }, { x: one })).y).toEqual(Float32Array.of(2, 4))
  })

  test('gives an input, a constant, or one tensor twice as outputs', async () => {
    const x = input([2])
    const y = g.mul(x, 2)
    const out = await run(
      { x },
      { same: x, y, again: y, z: g.mul(y, 2), fixed: g.constant([5, 6, 7]) },
      { x: one },
    )
    expect(out).toEqual({
      same: one,
      y: Float32Array.of(2, 4),
      again: Float32Array.of(2, 4),
      z: Float32Array.of(4, 8),
      fixed: Float32Array.of(5, 6, 7),
    })
  })

  test('takes names that look like its own', async () => {
    const [v0, c0] = [input([2]), input([2])]
    const v1 = g.add(g.mul(v0, 2), g.mul(c0, 10))
    expect((await run({ v0, c0 }, { v1 }, { v0: one, c0: one })).v1).toEqual(Float32Array.of(12, 24))
  })

  test('reads int32 inputs', async () => {
    const [table, rows] = [input([3, 1]), input([2], 'int32')]
    const values = { table: Float32Array.of(5, 6, 7), rows: Int32Array.of(2, 0) }
    expect((await run({ table, rows }, { y: g.gather(table, rows) }, values)).y).toEqual(
      Float32Array.of(7, 5),
    )
  })

  test('refuses an input that is not listed and a name that is both', () => {
    const x = input([2])
    expect(() => lower({ inputs: {}, outputs: { y: g.exp(x) } })).toThrow(/input was used by a program/)
    expect(() => lower({ inputs: { x }, outputs: { x: g.exp(x) } })).toThrow(
      /"x" names an input and an output/,
    )
  })
})

describe('program', () => {
  test('writes into the arrays it is given, and names a wrong or missing one', async () => {
    const x = input([2])
    const program = await cpu.compile({ inputs: { x }, outputs: { y: g.mul(x, 3), z: g.exp(x) } }, true)
    const y = cpu.zeros(2)
    const out = await program.run({ x: device(Float32Array.of(1, 2)) }, { y })
    expect(out.y).toBe(y)
    expect([...host(y)]).toEqual([3, 6])
    expect(host(out.z)[0]).toBeCloseTo(Math.E, 5)
    await expect(program.run({})).rejects.toThrow('no value for the input "x"')
    await expect(program.run({ x: cpu.zeros(3) })).rejects.toThrow('"x" has 3 values where [2] needs 2')
    await program.dispose()
  })
})

test('reshapes at the ends of a program are left out, and values are the same', async () => {
  const [x, y] = [input([2, 6]), input([3, 4])]
  const only = unshape({ inputs: { x }, outputs: { out: g.reshape(g.mul(g.reshape(x, [12]), 2), [6, 2]) } })
  expect([only.inputs.x.shape, only.outputs.out.shape]).toEqual([[12], [12]])

  const outputs = {
    sum: g.reshape(g.add(g.reshape(x, [3, 4]), y), [12]),
    twice: g.reshape(g.mul(g.reshape(y, [12]), 2), [2, 6]),
    same: g.reshape(x, [12]),
  }
  const [xs, ys] = [0.5, 3].map((d) => Float32Array.from({ length: 12 }, (_, i) => d * i))
  const out = await run({ x, y }, outputs, { x: xs, y: ys })
  expect(out).toEqual({ sum: xs.map((v, i) => v + ys[i]), twice: ys.map((v) => 2 * v), same: xs })
})
