/** The verdict where the truth is known. */
import { expect, test } from 'vitest'
import { type Candidate, judge, paretoFront } from '../../src/compare/judge.js'
import { type VerdictFile, verdict } from '../../src/compare/verdict.js'
import { Random } from '../../src/random.js'

const windowTokens = (n: number) => new Array<number>(n).fill(255)
const random = new Random(11)
const hardness = Array.from({ length: 64 }, () => Math.exp(0.2 * random.normal()))
/** Types of files whose names do not tell them. */
const types: Readonly<Record<string, string>> = { b: 'IQ4_XS', 'model-q4_k': 'Q4_K_M', my_q8_0: 'Q8_0' }
/** Losses of a file of mean loss `kld` on the first windows. */
const losses = (kld: number, n = 64) =>
  hardness.slice(0, n).map((hard) => 255 * kld * hard * Math.exp(0.05 * random.normal()))
const file = (
  name: string,
  bits: number,
  kld: readonly number[],
  method: 'ptq' | 'qat' = 'ptq',
): Candidate => ({
  name,
  method,
  type: types[name] ?? name.replace(' QAT', ''),
  bytes: bits * 1e9,
  bitsPerWeight: bits,
  kld,
})
const tell = async (candidates: readonly Candidate[], n = 64, options = {}) => {
  const judged = await judge(candidates, windowTokens(n))
  const files = candidates.map(
    ({ name, method, type, bytes, kld }): VerdictFile => ({
      name,
      method,
      type,
      bytes,
      kld: kld.reduce((a, b) => a + b, 0),
      top1: 0.95,
      neededBytes: bytes + 5e8,
    }),
  )
  return { judged, text: verdict(files, judged, options).join(' ') }
}

test('identical files under two names are a tie', async () => {
  const same = losses(0.01)
  const { judged, text } = await tell([file('a', 4, same), file('b', 4, same)])
  expect(judged.pairs).toEqual([{ a: 'a', b: 'b', difference: 0, p: 1, better: 'tie' }])
  expect(judged.judgements.map(({ onFront, beatenBy }) => [onFront, beatenBy])).toEqual([
    [true, []],
    [true, []],
  ])
  expect(text).toMatch(/a and b give identical predictions; take the smallest/)
})

test('a damaged file loses', async () => {
  const { judged, text } = await tell([file('good', 4, losses(0.01)), file('damaged', 4, losses(0.08))])
  expect(judged.pairs[0].better).toBe('a')
  expect(judged.judgements[1]).toMatchObject({ onFront: false, beatenBy: ['good'] })
  expect(text).toMatch(/^Take good/)
})

test('few tokens: it says that it cannot tell', async () => {
  for (const n of [2, 4, 6]) {
    const { judged, text } = await tell(
      [file('a', 8, losses(0.001, n)), file('b', 4, losses(0.01, n)), file('c', 3, losses(0.1, n))],
      n,
    )
    expect(judged.pairs.every(({ better }) => better === 'tie')).toBe(true)
    expect(text).toMatch(
      /too short to rank 3 files.*on [246] windows.*it takes 7 windows.*Measure again with more text/,
    )
  }
})

const ladder = [
  file('Q8_0', 8.5, losses(0.001)),
  file('Q4_K_M', 5, losses(0.01)),
  file('Q4_0', 4.5, losses(0.02)),
  file('Q2_K', 3, losses(0.1)),
]

test('what training has won, with intervals', async () => {
  const { judged, text } = await tell([...ladder, file('Q4_0 QAT', 4.5, losses(0.01), 'qat')])
  const { effectiveBits, compressionWon, recovered, onFront } = judged.judgements[4]
  expect(onFront).toBe(true)
  expect(effectiveBits?.value).toBeCloseTo(5, 1)
  expect(effectiveBits?.interval[0]).toBeLessThan(5)
  expect(effectiveBits?.interval[1]).toBeGreaterThan(4.95)
  expect(compressionWon?.value).toBeCloseTo(0.1, 1)
  expect(recovered?.value).toBeCloseTo(0.5, 1)
  expect(recovered?.significant).toBe(true)
  expect(judged.judgements[2]).toMatchObject({ onFront: false, beatenBy: ['Q4_0 QAT'] })
  expect(text).toMatch(/^Training pays off: Q4_0 QAT matches a PTQ file that is 1[0-2] % larger/)
  expect(text).not.toContain('Q4_0 (')
})

test('the best opponent is the best PTQ file that is no larger, of any type', async () => {
  const { judged } = await tell([
    ...ladder,
    { ...file('Q4_0 imatrix', 4.5, losses(0.016)), type: 'Q4_0', importance: true },
    { ...file('IQ4_XS imatrix', 4.3, losses(0.0125)), importance: true },
    file('Q4_0 QAT', 4.5, losses(0.01), 'qat'),
  ])
  const { recovered, recoveredOfBest, effectiveBits } = judged.judgements[6]
  expect(recovered?.value).toBeCloseTo(0.5, 1)
  expect(recoveredOfBest).toMatchObject({ opponent: 'IQ4_XS imatrix', significant: true })
  expect(recoveredOfBest?.value).toBeCloseTo(0.2, 1)
  expect(recoveredOfBest?.interval[1]).toBeLessThan(0.3)
  // Between the best PTQ files next to it, not on the line through weaker ones.
  expect(effectiveBits?.value).toBeCloseTo(5, 1)
})

test('training that did harm, and training of which one cannot say', async () => {
  const harmed = await tell([...ladder, file('Q4_0 QAT', 4.5, losses(0.05), 'qat')])
  expect(harmed.text).toMatch(/Training made Q4_0 QAT worse/)
  const unclear = await tell([...ladder, file('Q4_0 QAT', 4.5, ladder[2].kld, 'qat')])
  expect(unclear.text).toMatch(/too short to say whether training improved Q4_0 QAT/)
})

test('a choice for a memory', async () => {
  const eight = await tell(ladder, 64, { memoryBytes: 8e9, contextTokens: 4096 })
  expect(eight.text).toMatch(
    /With 8\.00 GB of memory, take Q4_K_M: it needs 5\.50 GB with a context of 4,096 tokens and predicts the same top token as the full model for 95 % of tokens\./,
  )
  const one = await tell(ladder, 64, { memoryBytes: 1e9 })
  expect(one.text).toMatch(
    /None of these files fits in 1\.00 GB of memory; the smallest, Q2_K, needs 3\.50 GB/,
  )
  expect((await tell(ladder)).text).toMatch(
    /Take the first of these that fits.*Q8_0 \(9\.00 GB\).*Q2_K \(3\.50 GB\)/,
  )
})

test('a name that does not tell the type of a file is followed by it', async () => {
  const files = [
    file('b', 4, losses(0.02)),
    file('model-q4_k', 5, losses(0.01)),
    file('my_q8_0', 8, losses(0.001)),
  ]
  expect((await tell(files)).text).toContain(
    'my_q8_0 (8.50 GB), model-q4_k (Q4_K_M, 5.50 GB), b (IQ4_XS, 4.50 GB)',
  )
  expect((await tell(files, 64, { memoryBytes: 5.5e9 })).text).toContain('take b (IQ4_XS): it needs')
})

test('the front of size and loss', () => {
  expect(
    paretoFront([
      { bytes: 8e6, loss: 1 },
      { bytes: 4e6, loss: 3 },
      { bytes: 5e6, loss: 4 },
      { bytes: 4.001e6, loss: 2 }, // the same size but for metadata
      { bytes: 9e6, loss: 1 },
    ]),
  ).toEqual([true, false, false, true, false])
  expect(
    paretoFront([
      { bytes: 1, loss: 1 },
      { bytes: 1, loss: 1 },
    ]),
  ).toEqual([true, true])
})
