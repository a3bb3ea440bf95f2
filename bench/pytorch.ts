/**
 * Compares a training step of `quench train --method distill` with the same in PyTorch 2 on the CPU, eager, compiled, and
 * compiled with autocast to bfloat16, interleaved: the same model, tokens, rounding with learned scales, loss, clipping and Adam,
 * the same number of threads; f32 but for the last.
 * The teacher runs in every step on both sides. PyTorch keeps activations, as is its default; quench recomputes blocks.
 *
 *   npx tsx bench/pytorch.ts [types = Q4_0,Q2_K] [windows of 128 tokens = 4,16] [turns = 15] [model = the one that ships | block]
 *
 * `block` is one block of a model of 1.1 billion random weights (width 2048). Python 3 with venv must be installed; PyTorch is
 * installed once into QUENCH_PYTORCH, by default a folder in the temporary folder. If the package index has a build with GPU
 * libraries, that takes 5 GB; pip's own settings (PIP_INDEX_URL) select another. Both sides must first agree on the loss and
 * the gradients of the first step.
 */

import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join as joinPath } from 'node:path'
import { copyOf } from '../src/backends/backend.js'
import { cpu } from '../src/backends/cpu/cpu.js'
import { joinWindows } from '../src/data/windows.js'
import { GradientSum } from '../src/engine/gradients.js'
import type { Batch } from '../src/models/architecture.js'
import { PyTorch, pythonWithTorch, writeModel } from './pytorch/process.js'
import { clip, makeTrainer, modelPath, quartiles, randomWindows, rates, type Trainer } from './student.js'

const [types = 'Q4_0,Q2_K', sizes = '4,16', turns = '15', model = 'shipped'] = process.argv.slice(2)
const modes = ['eager', 'compiled', 'bf16'] as const
type Seconds = Record<'quench' | (typeof modes)[number], number[]>

/** Loss per token and gradients of the first step, as the optimizer receives them: sums over the tokens. */
async function firstStep(trainer: Trainer, windows: readonly Int32Array[]) {
  const { network, distillation, parameters } = trainer
  const { teacher, student } = distillation
  const tokens = joinWindows(windows)
  const hidden = copyOf(cpu, await network.forward(tokens, teacher))
  const gradients = new Map(parameters.map((p) => [p.name, new GradientSum(cpu, p.weights.length)]))
  await network.forward(tokens, student)
  const target = { kind: 'teacher', weights: teacher, hidden } as const
  const loss = await network.backward(tokens, student, target, gradients)
  return { loss: loss / network.tokens, gradients }
}

/** Prints the differences between both sides. @throws Error if they exceed those of another f32 summation order */
async function checkSame(trainer: Trainer, windows: readonly Int32Array[], torch: PyTorch, folder: string) {
  const { loss, gradients } = await firstStep(trainer, windows)
  const other = await torch.ask({ command: 'check' })
  const bytes = await readFile(joinPath(folder, 'gradients.f32'))
  const theirs = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4)
  let start = 0
  let worst = { name: '', error: 0 }
  for (const [name, gradient] of gradients) {
    const ours = await cpu.download(gradient.values)
    let [squares, errors] = [0, 0]
    for (const [i, x] of ours.entries()) {
      squares += x * x
      errors += (x - theirs[start + i]) ** 2
    }
    start += ours.length
    const error = Math.sqrt(errors / squares)
    if (!(error <= worst.error)) worst = { name, error }
  }
  const apart = Math.abs(loss / Number(other.loss) - 1)
  console.log(
    `  first step: loss ${loss.toFixed(6)} and ${Number(other.loss).toFixed(6)} nats, apart by ${apart.toExponential(1)} of it; gradients of ${gradients.size} tensors apart by at most ${worst.error.toExponential(1)} of their norm (${worst.name})`,
  )
  if (start !== theirs.length || !(apart < 1e-4) || !(worst.error < 1e-3))
    throw new Error('quench and PyTorch do not compute the same step')
}

async function compare(python: string, type: string, batch: Batch): Promise<void> {
  const folder = await mkdtemp(joinPath(tmpdir(), 'quench-bench-'))
  const trainer = await makeTrainer(modelPath(model, folder), type, batch)
  const windows = randomWindows(batch, trainer.network.config.vocabulary, 1)
  await writeModel(folder, trainer, windows)
  const torch = new PyTorch(python, folder)
  try {
    const { version, threads } = await torch.started
    const tokens = batch.windows * batch.length
    console.log(
      `${type}, ${tokens} tokens, ${model} model, ${threads} threads, PyTorch ${version} (seconds; in brackets the middle half)`,
    )
    await checkSame(trainer, windows, torch, folder)
    const seconds: Seconds = { quench: [], eager: [], compiled: [], bf16: [] }
    const losses: Seconds = { quench: [], eager: [], compiled: [], bf16: [] }
    const missing = new Set<string>()
    for (let turn = 0; turn < Number(turns) + 2; turn++) {
      const start = performance.now()
      losses.quench.push(await trainer.distillation.step(windows, turn + 1, rates, clip))
      seconds.quench.push((performance.now() - start) / 1000)
      for (const mode of modes) {
        if (missing.has(mode)) continue
        const reply = await torch.ask({ command: 'step', mode })
        if (reply.error) {
          missing.add(mode)
          console.log(`  ${mode}: does not run here (${reply.error})`)
          continue
        }
        seconds[mode].push(Number(reply.seconds))
        losses[mode].push(Number(reply.loss))
      }
    }
    for (const [mode, all] of Object.entries(seconds)) {
      const ran = all.slice(2) // the first ones compile
      if (ran.length === 0) continue
      const { low, median, high } = quartiles(ran)
      const ratio = quartiles(ran.map((s, i) => s / seconds.quench[i + 2]))
      const beside =
        mode === 'quench'
          ? ''
          : `; quench is ${ratio.median.toFixed(2)} times as fast (${ratio.low.toFixed(2)} - ${ratio.high.toFixed(2)})`
      const last = losses[mode as keyof Seconds].at(-1) ?? Number.NaN
      console.log(
        `  ${mode.padEnd(8)} ${median.toFixed(4)} (${low.toFixed(4)} - ${high.toFixed(4)}), ${(tokens / median).toFixed(0)} tokens/s, loss of step ${all.length} ${last.toFixed(5)}${beside}`,
      )
    }
  } finally {
    torch.stop()
    await trainer.dispose()
    await rm(folder, { recursive: true, force: true })
  }
}

const python = await pythonWithTorch(process.env.QUENCH_PYTORCH ?? joinPath(tmpdir(), 'quench-pytorch'))
if (!python) process.exit(1)
for (const type of types.split(','))
  for (const size of sizes.split(',')) await compare(python, type, { windows: Number(size), length: 128 })
