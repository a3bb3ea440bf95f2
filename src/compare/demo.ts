/**
 * `quench demo`: the main job on the shipped model: the PTQ ladder with and without an importance matrix, QAT of three types on
 * shipped text and text that the model writes itself, and an evaluation of all files by libllama on held-out text.
 */

import { basename, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { defaults } from '../config/defaults.js'
import { blockwise } from '../config/methods.js'
import type { TrainEvent, TrainOptions } from '../config/options.js'
import { readTexts } from '../data/texts.js'
import { TeacherCache } from '../engine/teacher-cache.js'
import {
  type EffectiveBits,
  type Estimate,
  type EvaluatedFile,
  effectiveBits,
  evaluateFiles,
  type FileEvaluation,
  recovered,
} from '../evaluate/index.js'
import { makeFolder } from '../folders.js'
import { lockFile } from '../locks.js'
import type { ProgressEvent } from '../notices.js'
import { aboveZero, checkNumbers, checkOptionNames, whole } from '../option-checks.js'
import { checkOutputs } from '../outputs.js'
import { quantizeFile } from '../quantize/ptq.js'
import type { TrainReport } from '../train/report.js'
import { train } from '../train/train.js'
import { makeImportance } from './importance.js'
import { bestOpponent } from './judge.js'
import { type Rung, rungName, rungsOf } from './ladder.js'

const shipped = (name: string): string => fileURLToPath(new URL(`../../models/${name}`, import.meta.url))
/** The shipped model, and text that it was not trained on. */
const demoModel = shipped('quench-5m-f16.gguf')
const demoText = shipped('quench-5m.test.txt')

const ladder = rungsOf(undefined, true)
const trainedTypes = ['Q4_0', 'Q3_K_M', 'Q2_K'] as const

/** The model knows only one kind of text, its own, so more of it is used than of general text. */
const selfWritten = 0.75
/** Tokens of the held-out text that every file runs; half of them are scored. */
const evaluationTokens = 16_384

export interface DemoOptions {
  /** Output folder, created if it does not exist. */
  readonly folder: string
  /**
   * Steps of each training run after the block-wise stage. Default: none, since the few that fit in a demo gain nothing
   * (LOG.md).
   */
  readonly steps?: number
  /** Duration of each training run in seconds, instead of steps. */
  readonly seconds?: number
  /** Size of the training set in tokens. */
  readonly tokens?: number
  readonly seed?: number
  /** What trains. Default: the processor. */
  readonly device?: TrainOptions['device']
  readonly onProgress?: (event: DemoEvent) => void
  /** Called with a sentence for the user. */
  readonly onWarning?: (warning: string) => void
}

export type DemoEvent = ProgressEvent &
  (
    | { readonly stage: 'importance' | 'evaluate' }
    | { readonly stage: 'quantize'; readonly name: string }
    | { readonly stage: 'train'; readonly type: string; readonly event: TrainEvent }
  )

/** A measured file of the demo. */
export interface DemoFile extends Omit<FileEvaluation, 'windowSums'> {
  /** `Q4_0`, `Q4_0 imatrix` or `Q4_0 QAT`. */
  readonly name: string
  readonly method: 'ptq' | 'qat'
  /** Of a trained file: the share of PTQ's mean KL divergence that it recovers. */
  readonly recovered?: Estimate
  /** Of a trained file: the same of the PTQ file with the least loss among those that are no larger. */
  readonly recoveredOfBest?: Estimate & { readonly opponent: string }
  /** Of a trained file: bits per weight at which the best PTQ files have the same loss. */
  readonly effectiveBits?: EffectiveBits
}

export interface DemoReport {
  readonly reference: Omit<EvaluatedFile, 'windowSums'>
  /** Ordered by size. */
  readonly files: readonly DemoFile[]
  readonly training: readonly TrainReport[]
  /** The held-out text. */
  readonly text: string
  /** Scored tokens of the text. */
  readonly tokens: number
  readonly seconds: number
  readonly peakBytes: number
}

/** @throws UsageError for a folder in which an output would overwrite an input, FileError while another demo writes there */
export async function demo(options: DemoOptions): Promise<DemoReport> {
  const { folder } = options
  checkOptionNames(options, {
    folder: true,
    steps: true,
    seconds: true,
    tokens: true,
    seed: true,
    device: true,
    onProgress: true,
    onWarning: true,
  })
  checkNumbers(options, { steps: whole(0), seconds: aboveZero, tokens: whole(1), seed: whole(0) })
  const made = [importanceName, ...ladder.map(fileName), ...trainedTypes.map((type) => `${type}-QAT`)]
  await checkOutputs({
    writes: made.map((name) => ({ path: madePath(folder, name), by: 'the file to make' })),
    reads: [demoModel, demoText].map((path) => ({ path, by: 'of the demo' })),
  })
  makeFolder(folder)
  const lock = await lockFile(resolve(folder), 'making the files of the demo in this folder')
  try {
    return await makeAndCompare(options)
  } finally {
    lock.release()
  }
}

const importanceName = 'imatrix'
const fileName = (rung: Rung): string => rungName(rung).replace(' ', '-')
const madePath = (folder: string, name: string): string => join(folder, `quench-5m-${name}.gguf`)

async function makeAndCompare(options: DemoOptions): Promise<DemoReport> {
  const { folder, seed = 1, steps, seconds, tokens = 32_768, device = defaults.device, onProgress } = options
  const began = performance.now()
  const text = { tokens, selfWritten, seed, context: defaults.context }
  const imatrix = madePath(folder, importanceName)
  await makeImportance({
    ...{ model: demoModel, output: imatrix, training: text, onWarning: options.onWarning },
    onProgress: (done, total) => onProgress?.({ stage: 'importance', done, total }),
  })
  const made: { name: string; type: string; plain: boolean; method: 'ptq' | 'qat'; path: string }[] = []
  for (const rung of ladder) {
    const { type, importance } = rung
    const name = rungName(rung)
    const path = madePath(folder, fileName(rung))
    onProgress?.({ stage: 'quantize', name, done: 0, total: 1 })
    await quantizeFile(demoModel, path, type, importance ? { imatrix, imatrixName: basename(imatrix) } : {})
    made.push({ name, type, plain: !importance, method: 'ptq', path })
  }

  const teacher = new TeacherCache(256 << 20)
  const training: TrainReport[] = []
  for (const type of trainedTypes) {
    const path = madePath(folder, `${type}-QAT`)
    const report = await train({
      input: demoModel,
      output: path,
      type,
      ...text,
      device,
      teacher,
      ...(steps === undefined && seconds === undefined && { method: blockwise }),
      ...(seconds === undefined ? steps !== undefined && { steps } : { seconds }),
      checkpointEvery: Number.POSITIVE_INFINITY,
      onProgress: (event) =>
        onProgress?.({ stage: 'train', type, done: event.done, total: event.total, event }),
      ...(options.onWarning && { onWarning: options.onWarning }),
    })
    training.push(report)
    made.push({ name: `${type} QAT`, type, plain: false, method: 'qat', path })
  }

  const evaluation = await evaluateFiles({
    reference: demoModel,
    files: made.map(({ path }) => path),
    text: await readTexts([demoText]),
    maxTokens: evaluationTokens,
    onProgress: ({ done, total }) => onProgress?.({ stage: 'evaluate', done, total }),
  })
  const rows = made.map((file, i) => ({ ...file, evaluation: evaluation.files[i] }))
  const ptq = rows.filter((row) => row.method === 'ptq')
  const rungs = ptq.map(({ evaluation: { bytes, bitsPerWeight, kld } }, i) => ({
    ...{ bytes, bitsPerWeight, kld: kld.mean, row: ptq[i] },
  }))
  const files = rows.map(
    ({ name, type, method, evaluation: { windowSums: _, ...measured } }, i): DemoFile => {
      if (method === 'ptq') return { name, method, ...measured }
      const same = ptq.find((row) => row.type === type && row.plain) as (typeof rows)[number]
      const best = bestOpponent(measured.bytes, rungs)?.row
      return {
        name,
        method,
        ...measured,
        recovered: recovered(rows[i].evaluation, same.evaluation),
        ...(best && {
          recoveredOfBest: { ...recovered(rows[i].evaluation, best.evaluation), opponent: best.name },
        }),
        effectiveBits: effectiveBits(measured.kld.mean, rungs),
      }
    },
  )
  const { windowSums: _, ...reference } = evaluation.reference
  return {
    reference,
    files: files.sort((a, b) => b.bytes - a.bytes),
    training,
    text: demoText,
    tokens: evaluation.tokens,
    seconds: (performance.now() - began) / 1000,
    peakBytes: process.resourceUsage().maxRSS * 1024,
  }
}
