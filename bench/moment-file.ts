/**
 * Measures the cost of keeping the optimizer's moments on disk: interleaved steps of the shipped model, or of another, and the
 * optimizer's share of a step.
 *
 *   npx tsx bench/moment-file.ts [steps = 12] [turns = 3] [model = models/quench-5m-f16.gguf]
 */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { cpu } from '../src/backends/cpu/cpu.js'
import { momentsInMemory } from '../src/optimizer/adam-state.js'
import { MomentFile } from '../src/optimizer/adam-state-file.js'
import { optimize } from '../src/optimizer/optimizer.js'
import { Optimizer } from '../src/optimizer/parameter.js'
import { openSource, targetTypes } from '../src/student/source.js'
import { makeStudent } from '../src/student/student.js'

const [steps, turns] = [Number(process.argv[2] ?? 12), Number(process.argv[3] ?? 3)]
const input = process.argv[4] ?? 'models/quench-5m-f16.gguf'
const folder = await mkdtemp(join(tmpdir(), 'quench-moments-'))
const source = await openSource(input)
const { parameters } = await makeStudent(cpu, source, targetTypes(source, { type: 'Q4_0' }))
const optimizer = new Optimizer()
const weights = parameters.reduce((n, p) => n + p.weights.length, 0)
try {
  const file = await MomentFile.create(join(folder, 'moments'), parameters)
  console.log(`${(weights / 1e6).toFixed(1)} M weights; milliseconds of an optimizer step, with rounding\n`)
  console.log('| turn | in memory | on disk | ratio |\n|---:|---:|---:|---:|')
  for (let turn = 1; turn <= turns; turn++) {
    const times = []
    for (const store of [momentsInMemory, file]) {
      optimizer.moments = store
      const began = performance.now()
      for (let number = 1; number <= steps; number++) {
        for (const p of parameters) cpu.fill(p.gradient.values, 1e-3)
        const rates = { weightRate: 0.001, scaleRate: 0.001 }
        await optimize(parameters, optimizer, rates, { tokens: 512, clip: 1, number })
      }
      times.push((performance.now() - began) / steps)
    }
    console.log(
      `| ${turn} | ${times.map((t) => t.toFixed(1)).join(' | ')} | ${(times[1] / times[0]).toFixed(2)} |`,
    )
  }
  await file.close()
} finally {
  await optimizer.dispose().catch(() => {})
  await source.gguf.close()
  await rm(folder, { recursive: true, force: true })
}
