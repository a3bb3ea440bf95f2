/**
 * Estimated speed beside that which `quench bench` measures, after the probe alone and after calibration by the other files, and how many
 * pairs of files whose measured speeds differ by more than a tenth the estimates put in the right order:
 *
 *   npx tsx bench/advise-speed.ts FILE.gguf FILE.gguf ...
 *
 * Needs a quiet machine, on which it says what else runs, and files of at least 100 MB.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { availableParallelism, loadavg, tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { describeMachine } from '../src/advise/machine/machine.js'
import { probeMachine } from '../src/advise/machine/probe.js'
import { calibrationOf, recordSpeeds } from '../src/advise/speed/calibration.js'
import { estimateSpeed } from '../src/advise/speed/estimate.js'
import { workOf } from '../src/advise/speed/work.js'
import { Store } from '../src/compare/store.js'
import { ggmlTypes, openGguf } from '../src/gguf/index.js'
import { benchFiles } from '../src/speed/index.js'

interface Found {
  readonly kind: string
  /** Tokens per second. */
  readonly measured: number
  readonly estimates: Readonly<Record<'probe alone' | 'calibrated by the others', number>>
}

/** E.g. `5 of 6 pairs in the right order`. */
function ordered(found: readonly Found[], kind: string, name: keyof Found['estimates']): string {
  const own = found.filter((each) => each.kind === kind)
  const pairs = own.flatMap((a, i) => own.slice(i + 1).map((b) => [a, b]))
  const apart = pairs.filter(
    ([a, b]) => Math.max(a.measured, b.measured) > 1.1 * Math.min(a.measured, b.measured),
  )
  const right = apart.filter(([a, b]) => a.measured > b.measured === a.estimates[name] > b.estimates[name])
  return `${right.length} of ${apart.length} pairs in the right order`
}

const tokens = { prompt: 512, generate: 64 }
const paths = process.argv.slice(2)
if (paths.length === 0) throw new Error('name files to measure')
const [load] = loadavg()
console.log(
  `load before: ${load.toFixed(1)} on ${availableParallelism()} cores${load > 0.3 ? ', so the figures are those of a busy machine' : ''}`,
)
const folder = await mkdtemp(join(tmpdir(), 'quench-advise-speed-'))
const store = await Store.open(join(folder, 'store.db'))
try {
  const files = []
  for (const path of paths) {
    const gguf = await openGguf(path)
    await gguf.close()
    files.push({ path, gguf })
  }
  const used = files.flatMap(({ gguf }) =>
    gguf.tensors.filter(({ shape }) => shape.length > 1).map(({ type }) => ggmlTypes.get(type)!.name),
  )
  const types = [...new Set(used)]
  const machine = await probeMachine(describeMachine(), { types, store })
  for (const [type, { bytesPerSecond, flops }] of machine.cpu.rates)
    console.log(`${type}: ${(bytesPerSecond / 1e9).toFixed(1)} GB/s, ${(flops / 1e9).toFixed(0)} GFLOP/s`)
  const bench = await benchFiles({ files: paths, prompt: [tokens.prompt], generate: [tokens.generate] })
  const found: Found[] = []
  console.log('file | test | measured | probe alone | off | calibrated by the others | off')
  for (const [i, { path, gguf }] of files.entries()) {
    // A store of its own, without the file that is estimated.
    const others = await Store.open(join(folder, `${i}.db`))
    await recordSpeeds(others, { ...bench, files: bench.files.filter((file) => file.path !== path) })
    const calibration = calibrationOf(others, machine)
    others.close()
    for (const { kind, tokens: length, tokensPerSecond } of bench.files[i].tests) {
      const measured = tokensPerSecond.median
      const placement = { depth: length / 2 }
      const work = workOf(gguf, placement)
      const alone = estimateSpeed(work, machine)[kind].expected
      const corrected = estimateSpeed(work, machine, calibration)[kind].expected
      const off = (value: number): string => `${(100 * (value / measured - 1)).toFixed(0)} %`
      found.push({
        kind,
        measured,
        estimates: { 'probe alone': alone, 'calibrated by the others': corrected },
      })
      const row = [measured.toFixed(1), alone.toFixed(1), off(alone), corrected.toFixed(1), off(corrected)]
      console.log([basename(path), kind, ...row].join(' | '))
    }
  }
  for (const kind of new Set(found.map((each) => each.kind)))
    for (const name of ['probe alone', 'calibrated by the others'] as const)
      console.log(`${kind}, ${name}: ${ordered(found, kind, name)}`)
} finally {
  store.close()
  await rm(folder, { recursive: true })
}
