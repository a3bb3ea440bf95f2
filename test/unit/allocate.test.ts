/** Types within a budget. */
import { describe, expect, test } from 'vitest'
import { type Choice, chooseWithin } from '../../src/allocate/choose.js'
import { searchTypes } from '../../src/allocate/search.js'
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
        return [
          String(i),
          [1, 2, 3, 4].map((bits) => choice(bits * (1 + random.int(3)), weight * 4 ** -bits)),
        ]
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

describe('the search', () => {
  // Errors by bits; tensors of 100 weights.
  const bits = [2, 3, 4, 5, 6, 8]
  const names = [
    'output.weight',
    ...[0, 1, 2].flatMap((i) => [`blk.${i}.ffn_up.weight`, `blk.${i}.attn_v.weight`]),
  ]
  const errors = new Map(
    names.map((name) => [
      name,
      bits.map((b) => ({ type: b, bytes: 12.5 * b, bitsPerWeight: b, error: 4 ** -b })),
    ]),
  )
  const budget = (names.length * 100 * 4) / 8
  /** Errors of a layer act on each other, which no sum of estimates sees: those of the last one add up as they are, not squared. */
  const kldOf = (types: ReadonlyMap<string, number>): number => {
    const errorOf = (name: string): number => 4 ** -(types.get(name) ?? 16)
    const last = names.filter((name) => name.startsWith('blk.2.')).map((name) => Math.sqrt(errorOf(name)))
    return names.reduce((sum, name) => sum + errorOf(name), 0) + 20 * last.reduce((a, b) => a * b, 1)
  }
  const search = async (candidates: number) => {
    const asked: (readonly ReadonlyMap<string, number>[])[] = []
    const found = await searchTypes({
      ...{ errors, budget, candidates, cost: (bytes) => bytes },
      klds: async (some) => {
        asked.push(some)
        return some.map(kldOf)
      },
    })
    return { found: found!, asked }
  }

  test('measures every tensor alone, then as many whole candidates as are allowed, none twice', async () => {
    const { asked } = await search(12)
    const all = asked.flat()
    const alone = all.filter(({ size }) => size === 1)
    expect(alone.map((types) => [...types.keys()][0])).toEqual(names)
    const whole = all.filter(({ size }) => size === names.length)
    expect(whole.length + alone.length).toBe(all.length)
    expect(whole.length).toBeLessThanOrEqual(12)
    expect(new Set(whole.map((types) => JSON.stringify([...types]))).size).toBe(whole.length)
    for (const types of whole)
      expect([...types.values()].reduce((sum, b) => sum + 12.5 * b, 0)).toBeLessThanOrEqual(budget)
    expect(asked.every(({ length }) => length <= 4)).toBe(true)
  })

  test('swaps find what estimates do not see, and the best of what was measured is taken', async () => {
    const { found, asked } = await search(64)
    const measured = asked.flat().filter(({ size }) => size === names.length)
    expect(found.kld).toBe(Math.min(...measured.map(kldOf)))
    expect(found.kld).toBe(kldOf(found.types))
    expect(found.kld).toBeLessThan(found.first.kld)
    expect((await search(1)).found.types).toEqual(found.first.types)
  })

  test('the same measurements give the same search', async () => {
    const [a, b] = [await search(20), await search(20)]
    expect(a).toEqual(b)
  })

  test('a budget below the smallest types is none', async () => {
    const settings = { errors, candidates: 1, cost: (bytes: number) => bytes, klds: async () => [] }
    expect(await searchTypes({ ...settings, budget: 100 })).toBeUndefined()
  })
})
