/**
 * Tries whether types with a codebook (IQ2, IQ3) can be trained straight through: the forward pass uses what libggml's quantizer
 * makes of the latents with the importance matrix, the gradient passes through it unchanged. Prints the KL divergence of the PTQ file
 * and of the trained one on held-out text, as libllama computes it, and the time that rounding takes.
 *
 *   npx tsx bench/codebooks.ts [types = IQ3_XXS,IQ2_M] [steps = 200] [weight rates = 0.0001,0.0003]
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { cpu } from '../src/backends/cpu/cpu.js'
import { importanceOf } from '../src/blockwise/importance.js'
import { importanceText } from '../src/compare/importance.js'
import { defaults } from '../src/config/defaults.js'
import { WindowOrder } from '../src/data/order.js'
import { joinWindows } from '../src/data/windows.js'
import { Distillation } from '../src/distill/distillation.js'
import { onDevice } from '../src/engine/device-weights.js'
import { Network } from '../src/engine/network.js'
import { TeacherCache } from '../src/engine/teacher-cache.js'
import { createGguf, openGguf } from '../src/gguf/index.js'
import { evaluateFiles, readTexts } from '../src/index.js'
import { dequantizeRows, ggmlTypeName, quantizeModel, quantizeRowsAsync } from '../src/llama/index.js'
import { Optimizer, Parameter } from '../src/optimizer/parameter.js'
import { rateAt, warmupOf } from '../src/optimizer/schedule.js'
import { openSource } from '../src/student/source.js'
import { clip, modelPath } from './student.js'

const [types = 'IQ3_XXS,IQ2_M', steps = '200', weightRates = '0.0001,0.0003'] = process.argv.slice(2)
const batch = { windows: 4, length: defaults.context }

/** A matrix that is rounded by libggml. */
interface Matrix {
  readonly parameter: Parameter
  readonly type: number
  readonly width: number
  readonly importance: Float32Array
}

async function roundByGgml({ parameter, type, width, importance }: Matrix): Promise<Uint8Array> {
  const latents = await cpu.download(parameter.latents.w.values)
  const bytes = await quantizeRowsAsync(type, latents, width, importance)
  cpu.write(parameter.weights, dequantizeRows(type, bytes, latents.length))
  return bytes
}

async function trainType(model: string, type: string, weightRate: number, folder: string): Promise<string> {
  const source = await openSource(model)
  const network = new Network(cpu, source.architecture, source.config, batch)
  const teacher = onDevice(cpu, source.weights)
  const windows = await importanceText(model, {
    tokens: 32_768,
    selfWritten: 0.75,
    context: batch.length,
  })
  const order = new WindowOrder(windows, defaults.seed)
  const batches = Array.from({ length: Math.floor(windows.length / batch.windows) }, (_, i) =>
    joinWindows(order.take(i * batch.windows, batch.windows)),
  )
  const importance = await importanceOf(network, batches, teacher)
  const stock = join(folder, `${type}.gguf`)
  await quantizeModel(model, stock, { type, importance })
  const ptq = await openGguf(stock)
  const matrices: Matrix[] = []
  const weights = new Map<string, Float32Array>()
  for (const tensor of ptq.tensors) {
    const { name, shape } = tensor
    const full = source.weights.get(name)
    const own = importance.get(name)
    if (ggmlTypeName(tensor.type).startsWith('IQ') && full && own) {
      const groups = Parameter.plain(cpu, name, shape.toReversed(), full.slice())
      matrices.push({ parameter: groups, type: tensor.type, width: shape[0], importance: own })
    } else if (full)
      weights.set(
        name,
        tensor.type === 0 ? full : dequantizeRows(tensor.type, await ptq.read(tensor), full.length),
      )
  }
  const parameters = matrices.map(({ parameter }) => parameter)
  const byName = new Map(parameters.map((p) => [p.name, p]))
  const rest = onDevice(cpu, { get: (name) => weights.get(name) ?? source.weights.get(name) })
  const student = { get: (name: string) => byName.get(name)?.weights ?? rest.get(name) }
  const distillation = new Distillation(
    network,
    teacher,
    new TeacherCache(0),
    parameters,
    new Optimizer(),
    student,
  )
  for (const matrix of matrices) await roundByGgml(matrix)
  let rounding = 0
  const start = performance.now()
  for (let step = 1; step <= Number(steps); step++) {
    const share = rateAt({ steps: Number(steps), warmup: warmupOf(Number(steps)), floor: 0.02 }, step)
    const rates = { weightRate: weightRate * share, scaleRate: 0 }
    const loss = await distillation.step(
      order.take((step - 1) * batch.windows, batch.windows),
      step,
      rates,
      clip,
    )
    const before = performance.now()
    for (const matrix of matrices) await roundByGgml(matrix)
    rounding += performance.now() - before
    if (step % 50 === 1) console.error(`${type}, rate ${weightRate}, step ${step}: ${loss.toFixed(4)}`)
  }
  const share = (100 * rounding) / (performance.now() - start)
  console.log(
    `${type}, rate ${weightRate}: ${matrices.length} matrices; rounding takes ${share.toFixed(0)} % of the time`,
  )
  const path = join(folder, `${type}-${weightRate}.gguf`)
  const writer = await createGguf(path, { metadata: ptq.metadata, tensors: ptq.tensors })
  for (const tensor of ptq.tensors) {
    const matrix = matrices.find(({ parameter }) => parameter.name === tensor.name)
    await writer.write(tensor.name, matrix ? await roundByGgml(matrix) : await ptq.read(tensor))
  }
  await writer.finish()
  await ptq.close()
  await network.dispose()
  await source.gguf.close()
  return path
}

const folder = await mkdtemp(join(tmpdir(), 'quench-codebooks-'))
try {
  const model = modelPath('shipped', folder)
  for (const type of types.split(',')) {
    const trained: string[] = []
    for (const rate of weightRates.split(','))
      trained.push(await trainType(model, type, Number(rate), folder))
    const { files } = await evaluateFiles({
      reference: model,
      files: [join(folder, `${type}.gguf`), ...trained],
      text: await readTexts([join(import.meta.dirname, '../models/quench-5m.test.txt')]),
      maxTokens: 16_384,
    })
    for (const { path, bitsPerWeight, kld } of files)
      console.log(
        `${path.slice(folder.length + 1)}: ${bitsPerWeight.toFixed(2)} bits, KLD ${kld.mean.toFixed(5)} ± ${kld.se.toFixed(5)}`,
      )
  }
} finally {
  await rm(folder, { recursive: true, force: true })
}
