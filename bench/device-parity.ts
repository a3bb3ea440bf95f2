/**
 * Holds training on a GPU against training on the processor: ten gradient steps, and the block-wise solver, of the model that ships, with
 * the same options on both. Prints the divergence of both files from the model on held-out text as libllama runs them, and how many
 * weights differ. Controls run on the processor with results of programs that are off by up to half of 2^-22, in another way each: they
 * show by how much files differ that differ in nothing but how a device rounds.
 *
 *   npx tsx bench/device-parity.ts [steps] [solver] [--type Q4_0] [--tokens 512] [--controls 4] [--folder FOLDER]
 *
 * `--tokens` are those that the solver solves from; a step has 64. The GPU is SwiftShader (test/support/swiftshader.ts) unless the
 * environment names another. Files that FOLDER has are taken as they are, so a comparison that was stopped goes on.
 */
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Backend } from '../src/backends/backend.js'
import { cpu } from '../src/backends/cpu/cpu.js'
import { type DeviceName, deviceNames, openDevice } from '../src/backends/devices.js'
import { readTexts } from '../src/data/texts.js'
import { type Estimate, evaluateFiles, type FileEvaluation } from '../src/evaluate/index.js'
import { estimate } from '../src/evaluate/statistics.js'
import { createGguf, openGguf } from '../src/gguf/index.js'
import type { TypedArray } from '../src/graph/index.js'
import { LlamaModel } from '../src/llama/index.js'
import { architectureOf } from '../src/models/table.js'
import { readModel } from '../src/models/weights.js'
import { quantizeFile } from '../src/quantize/ptq.js'
import { Random } from '../src/random.js'
import { trainedParameters } from '../src/student/export.js'
import { train } from '../src/train/train.js'
import { useSwiftShader } from '../test/support/swiftshader.js'
import { clip, makeTrainer } from './student.js'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    type: { type: 'string', default: 'Q4_0' },
    tokens: { type: 'string', default: '512' },
    controls: { type: 'string', default: '4' },
    folder: { type: 'string' },
  },
})
const model = 'models/quench-5m-f16.gguf'
const length = 64

/** What a file is made on: a device, or the processor with programs that round otherwise. */
type Maker = { readonly device: DeviceName } | { readonly backend: Backend }

/** @param seed of the errors */
function roundingOtherwise(seed: number): Backend {
  const random = new Random(seed)
  return {
    ...cpu,
    host: cpu,
    async compile(graph, keepsMemory) {
      const program = await cpu.compile(graph, keepsMemory)
      return {
        dispose: () => program.dispose(),
        async run(inputs, into) {
          const results = await program.run(inputs, into)
          for (const buffer of Object.values(results)) {
            const found = await cpu.download<TypedArray>(buffer)
            if (found instanceof Float32Array)
              for (let i = 0; i < found.length; i++) found[i] *= 1 + (random.uniform() - 0.5) * 2 ** -22
          }
          return results
        },
      }
    },
  }
}

/** Makes files by a part of training, to `output`. `ptq` is what it starts from. */
const parts: Record<string, (maker: Maker, output: string, ptq: string) => Promise<void>> = {
  async steps(maker, output, ptq) {
    const backend = 'backend' in maker ? maker.backend : await openDevice(maker.device)
    const trainer = await makeTrainer(model, values.type, { windows: 1, length }, backend)
    const { distillation, parameters } = trainer
    const losses: number[] = []
    for (const [i, window] of (await windowsOf('models/quench-5m.validation.txt', 10)).entries())
      losses.push(await distillation.step([window], i + 1, rates, clip))
    const stock = await openGguf(ptq)
    const writer = await createGguf(output, { metadata: stock.metadata, tensors: stock.tensors })
    const trained = trainedParameters(parameters, { tensors: 0, weights: 0, differing: 0 })
    for (const tensor of stock.tensors)
      await writer.write(tensor.name, (await trained(tensor.name)) ?? (await stock.read(tensor)))
    await writer.finish()
    await stock.close()
    await trainer.dispose()
    await backend.dispose?.()
    console.log(`  losses ${losses.map((loss) => loss.toFixed(7)).join(' ')}`)
  },

  async solver(maker, output) {
    const tokens = Number(values.tokens)
    const { written, stages } = await train({
      ...{ input: model, output, type: values.type, ...maker, method: 'blockwise', general: 1, seed: 1 },
      ...{ tokens, calibration: tokens, validation: length, context: length, batch: length },
    })
    console.log(`  written: ${written}; on the validation text ${stages[0]?.kld.mean.toFixed(7)}`)
  },
}

/** Rates at which ten steps of so few tokens gain; at the defaults they lose. */
const rates = { weightRate: 0.0003, scaleRate: 0.0001 }

async function windowsOf(path: string, count: number): Promise<Int32Array[]> {
  const vocabulary = await LlamaModel.load(model, { vocabOnly: true })
  const tokens = vocabulary.tokenize(await readFile(path, 'utf8'))
  vocabulary.dispose()
  return Array.from({ length: count }, (_, i) => tokens.slice(i * length, (i + 1) * length))
}

async function weightsOf(path: string): Promise<Map<string, Float32Array>> {
  const gguf = await openGguf(path)
  const architecture = architectureOf(gguf)
  const weights = await readModel(gguf, architecture, await architecture.read(gguf))
  await gguf.close()
  return weights
}

/** Share of the weights of the first file that are not those of the other. */
async function differing(one: string, other: string): Promise<number> {
  const [own, theirs] = [await weightsOf(one), await weightsOf(other)]
  let [all, unequal] = [0, 0]
  for (const [name, weights] of own) {
    const others = theirs.get(name)
    all += weights.length
    for (let i = 0; i < weights.length; i++) if (weights[i] !== others?.[i]) unequal++
  }
  return unequal / all
}

/** KL divergence of each window, nats per token. */
const windowMeans = ({ windowSums: { kld, tokens } }: FileEvaluation): number[] =>
  kld.map((sum, i) => sum / tokens[i])

const show = ({ mean, se }: Estimate): string => `${mean.toExponential(3)} ± ${se.toExponential(1)}`

const makers = new Map<string, Maker>([
  ...deviceNames.map((device) => [device, { device }] as const),
  ...Array.from(
    { length: Number(values.controls) },
    (_, i) => [`control ${i + 1}`, { backend: roundingOtherwise(i + 1) }] as const,
  ),
])

useSwiftShader()
const folder = values.folder ?? (await mkdtemp(join(tmpdir(), 'quench-parity-')))
try {
  await mkdir(folder, { recursive: true })
  const ptq = join(folder, 'ptq.gguf')
  if (!existsSync(ptq)) await quantizeFile(model, ptq, values.type)
  for (const part of positionals.length > 0 ? positionals : Object.keys(parts)) {
    if (!(part in parts)) throw new Error(`there is no part ${part}`)
    const paths = [...makers.keys()].map((name) => join(folder, `${part}-${name}.gguf`))
    for (const [i, [name, maker]] of [...makers].entries()) {
      if (existsSync(paths[i])) continue
      const began = process.cpuUsage()
      await parts[part](maker, paths[i], ptq)
      const { user, system } = process.cpuUsage(began)
      console.log(`${part} on ${name}: ${((user + system) / 1e6).toFixed(0)} s of processor time`)
    }
    const text = await readTexts(['models/quench-5m.test.txt'])
    const { files } = await evaluateFiles({ reference: model, files: [ptq, ...paths], text })
    const [stock, own, ...others] = files
    console.log(`${part}: KL divergence ${show(stock.kld)} of PTQ, ${show(own.kld)} on cpu`)
    for (const [i, other] of others.entries()) {
      const before = windowMeans(own)
      const difference = estimate(windowMeans(other).map((mean, w) => mean - before[w]))
      const share = (100 * (await differing(paths[0], other.path))).toFixed(2)
      console.log(
        `  ${[...makers.keys()][i + 1]}: ${show(other.kld)}, ${show(difference)} more (${(difference.mean / difference.se).toFixed(2)} paired standard errors, ${(difference.mean / own.kld.se).toFixed(2)} of the divergence's); ${share} % of the weights differ`,
      )
    }
  }
} finally {
  if (values.folder === undefined) await rm(folder, { recursive: true, force: true })
}
