import { expect, test } from 'vitest'
import { cpu } from '../../src/backends/cpu/cpu.js'
import { device, host } from '../support/device.js'

const table = device(Float32Array.of(1, 2, 10, 20, 100, 200))

test('rows are those of the tokens, and are added back to them, a token that comes twice twice', () => {
  const tokens = Int32Array.of(2, 0, 2)
  expect(host(cpu.gatherRows(table, tokens, 2))).toEqual(Float32Array.of(100, 200, 1, 2, 100, 200))
  const sums = cpu.zeros(6)
  cpu.scatterAddRows(sums, tokens, device(Float32Array.of(1, 2, 3, 4, 5, 6)))
  expect(host(sums)).toEqual(Float32Array.of(3, 4, 0, 0, 6, 8))
})

test.each([-1, 3])('token %i has no row', (token) => {
  expect(() => cpu.gatherRows(table, Int32Array.of(0, token), 2)).toThrow(RangeError)
})
