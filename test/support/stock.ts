/** What llama.cpp's quantizer makes of a model, with the importance matrix of a run: the files that a training run has to beat. */

import { cpu } from '../../src/backends/cpu/cpu.js'
import { importanceOf } from '../../src/blockwise/importance.js'
import type { TrainOptions } from '../../src/config/options.js'
import { joinWindows } from '../../src/data/windows.js'
import { onDevice } from '../../src/engine/device-weights.js'
import { Network } from '../../src/engine/network.js'
import { openGguf } from '../../src/gguf/index.js'
import { quantizeModel } from '../../src/llama/index.js'
import { openSource } from '../../src/student/source.js'
import type { TrainReport } from '../../src/train/report.js'
import { textOptions } from '../../src/training-text/run-text.js'
import { readText } from '../../src/training-text/text.js'
import { inWholeBatches } from '../../src/validation/validation.js'

/** Bytes of every tensor, by name. */
export async function tensorData(path: string): Promise<Map<string, Buffer>> {
  const gguf = await openGguf(path)
  const data = new Map<string, Buffer>()
  for (const tensor of gguf.tensors) data.set(tensor.name, Buffer.from(await gguf.read(tensor)))
  await gguf.close()
  return data
}

/** The bytes of the tensors of the file that a run found to be its best opponent. It is written to `output`. */
export async function opponentData(
  options: TrainOptions & { readonly context: number; readonly batch: number },
  { opponent }: Pick<TrainReport, 'opponent'>,
  output: string,
): Promise<Map<string, Buffer>> {
  const importance = opponent === 'importance' ? await runImportance(options) : undefined
  await quantizeModel(options.input, output, { type: options.type, ...(importance && { importance }) })
  return tensorData(output)
}

/** Mean squares of what the matrices of the blocks read in general text. */
async function runImportance(
  options: TrainOptions & { readonly context: number; readonly batch: number },
): Promise<Map<string, Float32Array>> {
  const source = await openSource(options.input)
  const batch = { windows: options.batch / options.context, length: options.context }
  const network = new Network(cpu, source.architecture, source.config, batch)
  const wanted = textOptions(source, batch.length, options, 8e9)
  const { importance } = await readText(options.input, wanted)
  const batches = inWholeBatches(importance, batch.windows).map(joinWindows)
  const all = await importanceOf(network, batches, onDevice(cpu, source.weights))
  await network.dispose()
  await source.gguf.close()
  return new Map([...all].filter(([name]) => name.startsWith('blk.')))
}
