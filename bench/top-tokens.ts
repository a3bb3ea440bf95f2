/**
 * Measures the part of the KL divergence that the teacher's top-k tokens miss, for the shipped model: the share of the mean
 * divergence of the reference quantizer's file that the bound covers, its bytes per token, and the gain of training from it on
 * held-out windows against training from the whole distribution.
 *
 *   npx tsx bench/top-tokens.ts [steps = 60] [type = Q2_K] [ks = 16,64,128,256] [model] [text = the validation text that ships]
 */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { copyOf } from '../src/backends/backend.js'
import { cpu } from '../src/backends/cpu/cpu.js'
import { joinWindows as joined, spread } from '../src/data/windows.js'
import { onDevice } from '../src/engine/device-weights.js'
import type { Target } from '../src/engine/head.js'
import { Network } from '../src/engine/network.js'
import { Optimizer } from '../src/optimizer/parameter.js'
import { openSource, targetTypes } from '../src/student/source.js'
import { makeStudent } from '../src/student/student.js'
import { untrainedSets } from '../src/student/untrained.js'
import { train } from '../src/train/train.js'
import { inTurns } from '../src/training-text/general-text.js'
import { readText } from '../src/training-text/text.js'

const [steps, type] = [Number(process.argv[2] ?? 60), process.argv[3] ?? 'Q2_K']
const ks = (process.argv[4] ?? '16,64,128,256').split(',').map(Number)
const input = process.argv[5] ?? 'models/quench-5m-f16.gguf'
const data = process.argv.slice(6, 7)

/** The mean divergence of the rounded model, and its bound for each k. */
async function bounds(): Promise<{ exact: number; bounds: number[] }> {
  const source = await openSource(input)
  const teacher = onDevice(cpu, source.weights)
  const batch = { windows: 4, length: 128 }
  const network = new Network(cpu, source.architecture, source.config, batch)
  const optimizer = new Optimizer()
  const types = targetTypes(source, { type })
  const student = await makeStudent(cpu, source, types, untrainedSets(source, types, 'auto')[0])
  for (const p of student.parameters) await p.round()
  const { files, validation } = await readText(input, {
    ...{ data, tokens: 49_152, length: batch.length, seed: 1, memory: 4e9 },
    fingerprint: source.fingerprint,
  })
  const windows = data.length > 0 ? spread(files, 32) : inTurns(validation, 32)
  let exact = 0
  const sums = ks.map(() => 0)
  for (let i = 0; i < 32; i += batch.windows) {
    const tokens = joined(windows.slice(i, i + batch.windows))
    const hidden = copyOf(cpu, await network.forward(tokens, teacher))
    const tops: Target[] = []
    for (const k of ks) tops.push({ kind: 'top', k, ...(await network.head.top(teacher, k)) })
    await network.forward(tokens, student.weights)
    exact += await network.loss(student.weights, { kind: 'teacher', weights: teacher, hidden })
    for (const [n, top] of tops.entries()) sums[n] += await network.loss(student.weights, top)
  }
  await network.dispose()
  await optimizer.dispose()
  await source.gguf.close()
  return { exact: exact / 4096, bounds: sums.map((sum) => sum / 4096) }
}

const folder = await mkdtemp(join(tmpdir(), 'quench-top-'))
try {
  const found = await bounds()
  console.log(`${type}: ${found.exact.toFixed(5)} nats per token\n`)
  console.log(
    '| k | bytes a token | share of the divergence seen | recovered by training |\n|---:|---:|---:|---:|',
  )
  for (const [n, k] of [0, ...ks].entries()) {
    const share = k === 0 ? '' : `${((100 * found.bounds[n - 1]) / found.exact).toFixed(2)} %`
    if (steps === 0) {
      console.log(`| ${k || 'all'} | ${k ? 8 * k + 4 : ''} | ${share} | |`)
      continue
    }
    const { recovered } = await train({
      ...{
        input,
        output: join(folder, 'out.gguf'),
        type,
        steps,
        method: 'distill',
        tokens: 49_152,
        calibration: 0,
      },
      ...{ teacherTopK: k, checkpointEvery: Number.POSITIVE_INFINITY },
    })
    console.log(`| ${k || 'all'} | ${k ? 8 * k + 4 : ''} | ${share} | ${(100 * recovered).toFixed(1)} % |`)
  }
} finally {
  await rm(folder, { recursive: true, force: true })
}
