/** What a run says of its file: the best opponent, every kind of text beside it, and the metadata. */

import { describe, expect, test } from 'vitest'
import type { StageReport, TrainOptions } from '../../src/config/options.js'
import { Metadata } from '../../src/gguf/index.js'
import type { Source } from '../../src/student/source.js'
import { outcomeOf, resultMetadata } from '../../src/train/result.js'
import { meanError } from '../../src/validation/estimate.js'
import { opponentOf } from '../../src/validation/opponent.js'
import type { Divergence } from '../../src/validation/validation.js'

const divergence = (prose: readonly number[], code: readonly number[]): Divergence => ({
  kinds: [
    { kind: 'prose', windows: prose },
    { kind: 'code', windows: code },
  ],
})
const plain = divergence([1, 2, 3], [0.1, 0.2, 0.3])
const weighed = divergence([0.9, 1.8, 2.7], [0.08, 0.16, 0.24])

describe('the opponent', () => {
  test('is the better of the two files, by shares of what each kind loses', () => {
    expect(opponentOf(plain, weighed)).toEqual({ kind: 'importance', divergence: weighed })
    expect(opponentOf(weighed, plain)).toEqual({ kind: 'plain', divergence: weighed })
    // Prose loses more in nats than code wins, but code wins the larger share.
    const mixed = divergence([1.05, 2.1, 3.15], [0.05, 0.1, 0.15])
    expect(opponentOf(plain, mixed).kind).toBe('importance')
  })

  test('is the plain file where both are the same', () => {
    expect(opponentOf(plain, plain).kind).toBe('plain')
  })
})

describe('the outcome', () => {
  const opponent = opponentOf(plain, weighed)

  test('holds every kind beside stock and the opponent, and names the worst', () => {
    const after = divergence([0.45, 0.9, 1.35], [0.08, 0.12, 0.16])
    const { kinds, worst, recovered, recoveredError, opponent: kind } = outcomeOf({ plain, opponent, after })
    expect(kind).toBe('importance')
    const [prose, code] = kinds
    expect(prose).toMatchObject({ kind: 'prose', stock: meanError([1, 2, 3]) })
    expect(prose.opponent).toEqual(meanError([0.9, 1.8, 2.7]))
    expect(prose.file).toEqual(meanError([0.45, 0.9, 1.35]))
    expect(Object.keys(prose.recovered).sort()).toEqual(['mean', 'se'])
    expect(prose.recovered.mean).toBeCloseTo(0.55, 12)
    expect(prose.recovered.se).toBeCloseTo(meanError([0.55, 1.1, 1.65]).se / 2, 12)
    expect(prose.gain.mean).toBeCloseTo(0.5, 12)
    expect(code.recovered.mean).toBeCloseTo(0.4, 12)
    expect(code.gain.mean).toBeCloseTo(0.25, 12)
    expect(worst).toBe('code')
    expect(recovered).toBeCloseTo((0.55 + 0.4) / 2, 12)
    expect(recoveredError).toBeCloseTo(Math.hypot(prose.recovered.se, code.recovered.se) / 2, 12)
  })

  test('of a file that is the opponent gains nothing on any kind', () => {
    const { kinds, recovered } = outcomeOf({ plain, opponent, after: weighed })
    for (const { gain, file, opponent: best } of kinds) {
      expect(gain).toEqual({ mean: 0, se: 0 })
      expect(file).toEqual(best)
    }
    expect(recovered).toBeCloseTo(0.15, 12)
    const same = outcomeOf({ plain, opponent: opponentOf(plain, plain), after: plain })
    expect(same).toMatchObject({ opponent: 'plain', recovered: 0, recoveredError: 0 })
  })

  test('says what got worse', () => {
    const { kinds, worst } = outcomeOf({
      plain,
      opponent,
      after: divergence([0.1, 0.2, 0.3], [0.2, 0.4, 0.6]),
    })
    expect(worst).toBe('code')
    expect(kinds[1].recovered.mean).toBeCloseTo(-1, 12)
    expect(kinds[1].gain.mean).toBeCloseTo(-1.5, 12)
  })
})

describe('the metadata', () => {
  const source = {
    gguf: { metadata: new Metadata('in.gguf', [['general.name', { type: 'string', value: 'tiny' }]]) },
    fingerprint: 'abc',
  } as unknown as Source
  const options = { output: 'out.gguf', type: 'Q4_0' } as TrainOptions
  const stage = (name: StageReport['stage'], taken: boolean): StageReport => ({
    ...{ stage: name, seconds: 1, taken },
    kld: { mean: 1, se: 0.1 },
  })
  const after = divergence([0.5, 1, 1.5], [0.05, 0.1, 0.15])
  const result = { plain, opponent: opponentOf(plain, weighed), after }
  const made = (...stages: StageReport[]) =>
    resultMetadata(source, options, stages, { steps: 9, tokens: 1152 }, result)

  test('names what is in the file, what it was trained with, and the divergence before and after', () => {
    const metadata = made(stage('blockwise', true), stage('distill', true))
    expect(metadata.string('general.name')).toBe('tiny')
    expect(metadata.string('quench.method')).toBe('blockwise+distill')
    expect(metadata.get('quench.steps')?.value).toBe(9)
    expect(metadata.get('quench.tokens')?.value).toBe(1152n)
    expect(metadata.get('quench.validation_kld_before')?.value).toBeCloseTo((2 + 0.2) / 2, 6)
    expect(metadata.get('quench.validation_kld_after')?.value).toBeCloseTo((1 + 0.1) / 2, 6)
    expect(metadata.get('general.file_type')?.value).toBe(2)
  })

  test('counts no steps of a stage that was undone', () => {
    const metadata = made(stage('blockwise', true), stage('distill', false))
    expect(metadata.string('quench.method')).toBe('blockwise')
    expect(metadata.get('quench.steps')?.value).toBe(0)
    expect(metadata.get('quench.tokens')?.value).toBe(0n)
  })

  test('says nothing of training where nothing of it is in the file', () => {
    for (const stages of [[], [stage('blockwise', false), stage('distill', false)]]) {
      const metadata = made(...stages)
      expect([...metadata].filter(([key]) => /quench\.(method|steps|tokens|valid)/.test(key))).toEqual([])
      expect(metadata.get('general.file_type')?.value).toBe(2)
    }
  })
})
