/** What `quench train` prints of a plan and of a run that it resumes. */
import { expect, test } from 'vitest'
import { describePlan, describeReport, describeSaved, overTime } from '../../src/cli/train/text.js'
import type { Plan, PlannedStage } from '../../src/config/plan.js'
import { comparison } from '../support/comparison.js'

const stage: PlannedStage = {
  ...{ stage: 'blockwise' as const, bytes: 1e9, seconds: 200, tokensPerSecond: 50, memory: [], work: [] },
}
const plan: Plan = {
  ...{ method: 'blockwise', inMemory: true, keepsActivations: true, spillBytes: 0, blockBytes: 0 },
  ...{ checkpointBytes: 0, diskBytes: 0, disk: [], memory: 8e9, momentBytes: 0, untrained: [] },
  ...{ teacher: { topK: 0, bytes: 0 }, tokens: 16_384, calibration: 8192, stages: [stage] },
  writing: { tokens: 8192, text: 32_768, copy: 5e8, seconds: 40 },
}

test('the text, how much of it the model writes, and what that takes', () => {
  const lines = describePlan(plan).join('\n')
  expect(lines).toContain(
    'text       16.4k tokens, 8.19k of them written by the model: about 0:40, 32.8 kB in the cache and 500 MB for a copy while it writes',
  )
  expect(lines).toContain('blockwise  about 3:20, 8.19k tokens at 50 tokens/s, 1.00 GB of memory')
  const cached = { ...plan, writing: { tokens: 0, text: 0, copy: 0, seconds: 0 } }
  expect(describePlan(cached)).toContain('  text       16.4k tokens')
})

test('a plan that exceeds --time is warned of, one that about keeps it is not', () => {
  expect(overTime(plan, { seconds: 120 })).toBe(
    '--time 2:00 is not enough: the least that there is to do takes about 4:00; Ctrl-C stops it',
  )
  expect(overTime(plan, { seconds: 230 })).toBeUndefined()
  expect(describePlan(plan, { seconds: 120 }).at(-1)).toBe('  in all     about 4:00')
})

test('the time of a run that goes on is said to be that of the whole', () => {
  expect(describePlan(plan, { resumed: true }).at(-1)).toBe(
    '  in all     about 4:00, of which what was finished before is not repeated',
  )
})

test('no steps after the block-wise stage are said, unless that was asked for', () => {
  const said = (method?: string): boolean =>
    describePlan(plan, { method }).some((line) => line.includes('no training steps'))
  expect([said(), said('auto'), said('blockwise')]).toEqual([true, true, false])
  expect(describePlan({ ...plan, method: 'distill' }).join()).not.toContain('no training steps')
})

test('a resumed run says from where', () => {
  const nothing = { before: false, blocks: 0, checkpoint: false }
  expect(describeSaved(nothing)).toBe('resuming: no block was finished')
  expect(describeSaved({ ...nothing, before: true })).toMatch(/^resuming before the first block; importances/)
  expect(describeSaved({ before: true, blocks: 1, checkpoint: false })).toBe(
    'resuming after 1 finished block',
  )
  expect(describeSaved({ before: true, blocks: 2, checkpoint: true })).toBe('resuming from the checkpoint')
})

test('a file that is far from the full model says so, whatever it recovers', () => {
  const report = comparison.files.flatMap(({ training }) => training ?? [])[0]
  const said = (mean: number): boolean => {
    const kinds = report.kinds.map((kind) => ({ ...kind, file: { mean, se: mean / 20 } }))
    return describeReport({ ...report, kinds }).some((line) =>
      String(line).includes('far from the full model'),
    )
  }
  expect([said(0.3), said(0.9)]).toEqual([false, true])
  // Text of one's own does not count.
  const own = { ...report.kinds[0], apart: true as const, file: { mean: 2, se: 0.1 } }
  expect(describeReport({ ...report, kinds: [...report.kinds, own] }).join()).not.toContain('far from')
})
