/** What a run leaves beside its output, and what the next one makes of it. */

import {
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import fsp, { mkdtemp, rm } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { TrainEvent, TrainOptions } from '../../src/config/options.js'
import type { Item } from '../../src/config/plan.js'
import { UsageError } from '../../src/errors.js'
import { openGguf } from '../../src/gguf/index.js'
import { reservedPath } from '../../src/reserve.js'
import { checkpointPath } from '../../src/resume/checkpoint.js'
import { blocksFolder, hiddenStatesFolder, momentsPath, takenBytes } from '../../src/resume/disk.js'
import { isFinished } from '../../src/resume/leftovers.js'
import type { TrainReport } from '../../src/train/report.js'
import { train } from '../../src/train/train.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'
import { wordText } from '../support/word-text.js'

const layers = 2
let folder: string
let input: string
let text: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-leftovers-'))
  input = join(folder, 'model.gguf')
  await writeTinyGguf(input, { layers, width: 64, heads: 2, headsKV: 1, feedForward: 64 })
  text = join(folder, 'text.txt')
  writeFileSync(text, wordText(8000))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const options = (output: string, more: Partial<TrainOptions> = {}): TrainOptions => ({
  input,
  output: join(folder, output),
  type: 'Q4_0',
  data: [text],
  tokens: 1024,
  context: 32,
  batch: 256,
  calibration: 512,
  validation: 128,
  steps: 4,
  ...more,
})
const run = (output: string, more: Partial<TrainOptions> = {}): Promise<TrainReport> =>
  train(options(output, more))
const beside = (output: string): string[] =>
  readdirSync(dirname(join(folder, output))).filter((name) => name.includes(basename(output)))

/** A run that is stopped after this step. */
async function stopped(output: string, step: number, more: Partial<TrainOptions> = {}): Promise<void> {
  const stop = new AbortController()
  const onProgress = ({ stage, done }: TrainEvent) => {
    if (stage === 'train' && done === step) stop.abort()
  }
  await expect(run(output, { signal: stop.signal, onProgress, ...more })).rejects.toThrow(
    `after step ${step}`,
  )
}

describe('--resume', () => {
  it('with nothing to resume says so', async () => {
    const error = await run('none.gguf', { resume: true }).catch((thrown) => thrown)
    expect(error).toBeInstanceOf(UsageError)
    expect(error.message).toMatch(
      /^there is nothing to resume: neither .*none\.gguf\.checkpoint nor .*; leave out/,
    )
    writeFileSync(join(folder, 'foreign.gguf'), 'a file of something else')
    const foreign = join(folder, 'foreign.gguf')
    await expect(run('foreign.gguf', { resume: true })).rejects.toThrow(
      `leave out --resume to begin, which replaces ${foreign}, a file of another run`,
    )
    expect(beside('none.gguf')).toEqual([])
  })

  it.each([4, 0])('of a finished run of %i steps knows it by its input and type', async (steps) => {
    const output = `finished-${steps}.gguf`
    // Nothing of a run of no steps is left out for it: the weights are those of PTQ.
    await run(output, { steps, ...(steps === 0 && { calibration: 0 }) })
    expect(beside(output)).toEqual([output])
    const asked = options(output)
    expect(await isFinished(asked)).toBe(true)
    await expect(run(output, { resume: true })).rejects.toThrow(
      `there is nothing to resume: ${asked.output} is finished`,
    )
    expect(await isFinished({ ...asked, type: 'Q2_K' })).toBe(false)
    expect(await isFinished({ ...asked, tensorTypes: [{ pattern: 'attn_v', type: 'Q8_0' }] })).toBe(false)
    expect(await isFinished({ ...asked, tensorTypes: [{ pattern: 'attn_v', type: asked.type }] })).toBe(true)
    expect(await isFinished({ ...asked, output: input })).toBe(false)
    const other = join(folder, `other-${steps}.gguf`)
    await writeTinyGguf(other, { layers: 2, seed: 7 })
    expect(await isFinished({ ...asked, input: other })).toBe(false)
    mkdirSync(blocksFolder(asked.output))
    expect(await isFinished(asked)).toBe(false)
    rmSync(blocksFolder(asked.output), { recursive: true })
  })
})

it('an option that differs from the interrupted run is told before any work, with both values', async () => {
  await stopped('differs.gguf', 2)
  const left = checkpointPath(join(folder, 'differs.gguf'))
  const other = join(folder, 'other.txt')
  writeFileSync(other, wordText(6000))
  const model = join(folder, 'other-model.gguf')
  await writeTinyGguf(model, { layers, width: 64, heads: 2, headsKV: 1, feedForward: 64, seed: 5 })
  for (const [more, why] of [
    [{ type: 'Q8_0' }, 'other settings (--type Q4_0, now --type Q8_0)'],
    [{ validation: 256 }, 'other settings (--validation 128, now --validation 256)'],
    [{ general: 0.25 }, 'other settings (no --general, now --general 0.25)'],
    [{ context: 64 }, 'other settings (--context 32, now --context 64)'],
    [{ method: 'scales' }, 'other settings (--method distill, now --method scales)'],
    [{ data: [other] }, 'other text (the files of --data)'],
    [{ input: model }, 'another input model'],
  ] as const) {
    const stages: string[] = []
    const onProgress = ({ stage }: TrainEvent) => stages.push(stage)
    await expect(run('differs.gguf', { ...more, resume: true, onProgress })).rejects.toThrow(
      `${left} was left by a run with ${why}; resume with the same, or delete ${left} and `,
    )
    expect(stages).toEqual([])
  }
  const { steps: _, ...timed } = options('differs.gguf', { seconds: 60, resume: true })
  await expect(train(timed)).rejects.toThrow('(--steps 4, now no --steps; no --time, now --time 60s)')
})

it('options that are left out are those of the interrupted run', async () => {
  const first: Partial<TrainOptions> = {
    ...{ seed: 3, weightRate: 0.002, embeddings: 'yes', method: 'distill' },
    tensorTypes: [{ pattern: 'attn_v', type: 'Q8_0' }],
  }
  const whole = await run('whole-options.gguf', first)
  await stopped('left-out.gguf', 2, first)
  const output = join(folder, 'left-out.gguf')
  const resumed = await train({ input, output, type: 'Q4_0', data: [text], resume: true })
  expect(resumed.steps).toBe(4)
  expect(readFileSync(output).equals(readFileSync(whole.path))).toBe(true)
})

it('what precedes the first block is kept, and the file is the same', async () => {
  const seen = async (output: string, more: Partial<TrainOptions>): Promise<string[]> => {
    const stages = new Set<string>()
    const stop = new AbortController()
    const onProgress = ({ stage, done }: TrainEvent): void => {
      stages.add(stage)
      if (stage === 'blockwise' && done > 0 && more.signal === undefined && !more.resume) stop.abort()
    }
    await run(output, { signal: stop.signal, ...more, onProgress }).catch((error) => {
      if (!String(error).includes('in block 1')) throw error
    })
    return [...stages]
  }
  const undisturbed = await seen('before-whole.gguf', { signal: new AbortController().signal })
  expect(undisturbed).toEqual(['measure', 'validate', 'importance', 'fisher', 'blockwise', 'train'])
  expect(await seen('before.gguf', {})).toContain('fisher')
  const left = readdirSync(blocksFolder(join(folder, 'before.gguf')))
  expect(left).toEqual(expect.arrayContaining(['fisher.gguf', 'importance.gguf', 'stock.gguf']))
  expect(left).not.toContain('block-0.gguf')
  const resumed = await seen('before.gguf', { resume: true })
  expect(resumed).toEqual(['measure', 'blockwise', 'validate', 'train'])
  expect(readFileSync(join(folder, 'before.gguf'))).toEqual(readFileSync(join(folder, 'before-whole.gguf')))
})

it('a run over what another left names all of it, and nothing else is left when that is deleted', async () => {
  await stopped('left.gguf', 2)
  const output = join(folder, 'left.gguf')
  const [checkpoint, blocks] = [checkpointPath(output), blocksFolder(output)]
  writeFileSync(reservedPath(checkpoint), 'reserved')
  writeFileSync(join(folder, '.left.gguf.1.0123abcd.tmp'), 'half')
  writeFileSync(join(folder, '.left.gguf.checkpoint.1.0123abcd.tmp'), 'half')
  const saved = readFileSync(checkpoint)
  await expect(run('left.gguf')).rejects.toThrow(
    `${checkpoint}, ${reservedPath(checkpoint)} and ${blocks} are left of a run that did not end; add --resume to go on, or delete them to start anew`,
  )
  expect(readFileSync(checkpoint)).toEqual(saved)
  expect(beside('left.gguf').sort()).toEqual(
    [reservedPath(checkpoint), blocks, checkpoint].map((path) => basename(path)),
  )
  rmSync(checkpoint)
  rmSync(blocks, { recursive: true })
  await run('left.gguf') // the hidden rest is no run's any more
  expect(beside('left.gguf')).toEqual(['left.gguf'])
})

it('space that a killed run has taken counts as free, every file once', async () => {
  await stopped('taken.gguf', 2)
  const output = join(folder, 'taken.gguf')
  const checkpoint = checkpointPath(output)
  const before = await takenBytes(output)
  expect(before).toBeGreaterThan(readFileSync(checkpoint).length)
  writeFileSync(reservedPath(checkpoint), Buffer.alloc(3e6))
  writeFileSync(reservedPath(join(blocksFolder(output), 'block-1.gguf')), Buffer.alloc(2e6))
  expect(await takenBytes(output)).toBe(before + 5e6)
  rmSync(reservedPath(checkpoint))
  linkSync(checkpoint, reservedPath(checkpoint)) // killed between link and rename
  expect(await takenBytes(output)).toBe(before + 2e6)
  // What belonged to the process that was killed is gone before anything is counted.
  writeFileSync(momentsPath(output), Buffer.alloc(1000))
  mkdirSync(hiddenStatesFolder(output))
  writeFileSync(join(hiddenStatesFolder(output), 'student-0.stream'), '')
  writeFileSync(join(blocksFolder(output), '.block-1.gguf.1.0123abcd.tmp'), '')
  await run('taken.gguf', {
    resume: true,
    onPlan: () =>
      expect(readdirSync(blocksFolder(output)).sort()).toEqual([
        '.block-1.gguf.room',
        'block-0.gguf',
        'block-1.gguf',
        'decisions.json',
        'fisher.gguf',
        'importance.gguf',
        'outside.gguf',
        'stock.gguf',
      ]),
  })
  expect(beside('taken.gguf')).toEqual(['taken.gguf'])
  await run('whole.gguf')
  expect(readFileSync(output)).toEqual(readFileSync(join(folder, 'whole.gguf')))
})

it.each(['yes', 'no'] as const)(
  'what lies beside an output is what was planned, item by item; embeddings train: %s',
  async (embeddings) => {
    let planned: readonly Item[] = []
    const output = `disk-${embeddings}.gguf`
    await stopped(output, 2, { embeddings, checkpointEvery: 0, onPlan: ({ disk }) => (planned = disk) })
    const amountOf = (name: string): number => planned.find(({ what }) => what === name)?.amount ?? 0
    const folderOf = blocksFolder(join(folder, output))
    const size = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0
    const blocks = readdirSync(folderOf).filter((name) => name.endsWith('.gguf') && !name.startsWith('.'))
    expect(blocks).toHaveLength(layers + 4)
    const blockBytes = blocks.reduce((sum, name) => sum + size(join(folderOf, name)), 0)
    const checkpointBytes = 2 * size(checkpointPath(join(folder, output)))
    for (const [name, bytes] of [
      ['finished blocks, and what is computed before them', blockBytes],
      ['two checkpoints', checkpointBytes],
    ] as const) {
      expect(bytes, name).toBeGreaterThan(0)
      expect(bytes, name).toBeLessThanOrEqual(amountOf(name))
      expect(amountOf(name), name).toBeLessThan(1.3 * bytes + (layers + 6) * (96 << 10))
    }
  },
)

it('a run that was killed is resumed on a disk that has no room beside what it had reserved', async () => {
  let planned = 0
  await stopped('tight.gguf', 2, { onPlan: ({ diskBytes }) => (planned = diskBytes) })
  const output = join(folder, 'tight.gguf')
  const checkpoint = readFileSync(checkpointPath(output))
  writeFileSync(reservedPath(checkpointPath(output)), Buffer.alloc(checkpoint.length)) // which a kill leaves
  const { bytes } = await run('fits.gguf')
  const free = planned + bytes - (await takenBytes(output))
  const real = fsp.statfs
  fsp.statfs = (async () => ({ bavail: free, bsize: 1 })) as unknown as typeof fsp.statfs
  syncBuiltinESMExports()
  try {
    const blocks = blocksFolder(output)
    rmSync(reservedPath(checkpointPath(output)))
    await expect(run('tight.gguf', { resume: true })).rejects.toThrow('of disk')
    expect(existsSync(blocks)).toBe(true)
    writeFileSync(reservedPath(checkpointPath(output)), Buffer.alloc(checkpoint.length))
    await run('tight.gguf', { resume: true })
  } finally {
    fsp.statfs = real
    syncBuiltinESMExports()
  }
  expect(readFileSync(output)).toEqual(readFileSync(join(folder, 'fits.gguf')))
  expect(beside('tight.gguf')).toEqual(['tight.gguf'])
})

it('nothing is read or written through links that bear the names of a run', async () => {
  const victim = join(folder, 'victim')
  writeFileSync(victim, 'a letter')
  const output = join(folder, 'planted.gguf')
  const [checkpoint, blocks] = [checkpointPath(output), blocksFolder(output)]
  for (const target of [victim, join(folder, 'nowhere')]) {
    symlinkSync(target, checkpoint)
    await expect(run('planted.gguf')).rejects.toThrow(`${checkpoint} is left of a run`)
    await expect(run('planted.gguf', { resume: true })).rejects.toThrow(
      `${checkpoint}: this is not a regular file`,
    )
    rmSync(checkpoint)
  }
  mkdirSync(join(folder, 'letters'))
  symlinkSync(join(folder, 'letters'), blocks)
  await expect(run('planted.gguf')).rejects.toThrow(`${blocks} is left of a run`)
  await expect(run('planted.gguf', { resume: true })).rejects.toThrow(`${blocks}: this is a symbolic link`)
  rmSync(blocks)
  mkdirSync(blocks)
  symlinkSync(victim, join(blocks, 'teacher'))
  await expect(run('planted.gguf', { resume: true })).rejects.toThrow(/teacher: this is a symbolic link/)
  rmSync(join(blocks, 'teacher'))
  linkSync(victim, join(blocks, 'teacher'))
  symlinkSync(victim, join(blocks, 'moments'))
  await run('planted.gguf', { resume: true, teacherTopK: 8 })
  expect(readFileSync(victim, 'utf8')).toBe('a letter')
  expect(existsSync(join(folder, 'nowhere'))).toBe(false)
})

it('an output that is a link is written where it leads, with all that is kept beside it', async () => {
  mkdirSync(join(folder, 'disk2'))
  symlinkSync(join('disk2', 'target.gguf'), join(folder, 'link.gguf'))
  await stopped('link.gguf', 2)
  expect(readdirSync(join(folder, 'disk2')).sort()).toEqual(['target.gguf.blocks', 'target.gguf.checkpoint'])
  const { path } = await run('link.gguf', { resume: true })
  expect(path).toBe(join(folder, 'link.gguf'))
  expect(readdirSync(join(folder, 'disk2'))).toEqual(['target.gguf'])
  expect(beside('link.gguf')).toEqual(['link.gguf'])
  await (await openGguf(path)).close()
})

it('a name of 250 bytes works from a stop to the end', async () => {
  const name = `${'n'.repeat(245)}.gguf`
  await stopped(name, 2)
  await run(name, { resume: true })
  expect(readdirSync(folder).filter((each) => each.includes('nnnn'))).toEqual([name])
})

it('two runs on one output: the second is refused and does not harm the first', async () => {
  let second: Promise<unknown> | undefined
  const onProgress = ({ stage }: TrainEvent) => {
    if (stage === 'train') second ??= run('two.gguf', { resume: true }).catch((error) => error)
  }
  await run('two.gguf', { onProgress })
  expect(await second).toMatchObject({
    message: `${join(folder, 'two.gguf')}: another quench (process ${process.pid}) is writing this file; wait until it is done`,
  })
  expect(beside('two.gguf')).toEqual(['two.gguf'])
})

it('a folder of blocks that is cleared meanwhile does not end a run', async () => {
  // A rate that does harm, so that the last stage is undone.
  const harm = { weightRate: 0.5, scaleRate: 0.5 }
  const cleared = (all: boolean) => ({
    ...harm,
    onProgress: ({ stage }: TrainEvent) => {
      const blocks = blocksFolder(join(folder, all ? 'cleared.gguf' : 'damaged.gguf'))
      if (stage !== 'train') return
      if (all) rmSync(blocks, { recursive: true, force: true })
      else writeFileSync(join(blocks, 'block-1.gguf'), 'damaged')
    },
  })
  const kept = await run('undone.gguf', harm)
  expect(kept.stages.map(({ taken }) => taken)).toEqual([true, false])
  for (const [output, all] of [
    ['cleared.gguf', true],
    ['damaged.gguf', false],
  ] as const) {
    const report = await run(output, cleared(all))
    expect(report.stages.map(({ taken }) => taken)).toEqual([false, false])
    expect(report.written).toBe('ptq')
    for (const { file, opponent } of report.kinds) expect(file).toEqual(opponent)
    expect(beside(output)).toEqual([output])
  }
})
