/** Types within a budget. */
import { expect, test } from 'vitest'
import { type Choice, chooseWithin } from '../../src/allocate/choose.js'
import { Random } from '../../src/random.js'

const choice = (bytes: number, loss: number): Choice => ({ type: bytes, bytes, loss })
const totals = (chosen: ReadonlyMap<string, Choice>) => ({
  bytes: [...chosen.values()].reduce((sum, { bytes }) => sum + bytes, 0),
  loss: [...chosen.values()].reduce((sum, { loss }) => sum + loss, 0),
})

test('the tensor that saves more loss gets the bytes', () => {
  const options = new Map([
    ['a', [choice(2, 10), choice(4, 5)]],
    ['b', [choice(2, 10), choice(4, 1)]],
  ])
  expect(totals(chooseWithin(options, 6)!)).toEqual({ bytes: 6, loss: 11 })
  expect(chooseWithin(options, 6)?.get('b')?.bytes).toBe(4)
  expect(totals(chooseWithin(options, 100)!)).toEqual({ bytes: 8, loss: 6 })
  expect(chooseWithin(options, 3)).toBeUndefined()
})

test('larger types that are worse are never chosen', () => {
  const options = new Map([['a', [choice(2, 3), choice(3, 5), choice(4, 3)]]])
  expect(chooseWithin(options, 4)?.get('a')?.bytes).toBe(2)
})

test('within the budget, and near the best of all combinations', () => {
  const random = new Random(1)
  for (let turn = 0; turn < 50; turn++) {
    const options = new Map(
      Array.from({ length: 5 }, (_, i) => {
        const weight = random.uniform()
        return [String(i), [1, 2, 3, 4].map((bits) => choice(bits * (1 + random.int(3)), weight * 4 ** -bits))]
      }),
    )
    const budget = 5 * 4 + random.int(20)
    const found = chooseWithin(options, budget)
    const best = combinations([...options.values()])
      .filter(({ bytes }) => bytes <= budget)
      .reduce((least, { loss }) => Math.min(least, loss), Number.POSITIVE_INFINITY)
    if (!found) {
      expect(best).toBe(Number.POSITIVE_INFINITY)
      continue
    }
    expect(totals(found).bytes).toBeLessThanOrEqual(budget)
    expect(totals(found).loss).toBeLessThan(2 * best + 1e-9)
  }
})

function combinations(choices: readonly (readonly Choice[])[]): { bytes: number; loss: number }[] {
  return choices.reduce(
    (all, options) =>
      all.flatMap((sum) => options.map((o) => ({ bytes: sum.bytes + o.bytes, loss: sum.loss + o.loss }))),
    [{ bytes: 0, loss: 0 }],
  )
}
