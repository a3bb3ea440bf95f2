/**
 * The sums of an importance matrix over many windows. Batches pass through the model in rounds (blockwise/importance.ts); after a
 * round the sums are saved, so that a run that is stopped loses no more than that. Sums are added batch by batch, so neither
 * rounds nor a stop change the result.
 */
import { cpu } from '../backends/cpu/cpu.js'
import { addSquares } from '../blockwise/importance.js'
import { headMatrix } from '../blockwise/samples.js'
import { digest } from '../data/order.js'
import { joinWindows } from '../data/windows.js'
import { onDevice } from '../engine/device-weights.js'
import { Network } from '../engine/network.js'
import { QuenchError } from '../errors.js'
import { gigabytes } from '../format.js'
import { contentHash } from '../hashes.js'
import { heldOutside, hiddenWidth, sizesOf } from '../plan/memory.js'
import type { Source } from '../student/source.js'
import { readSums, type Sums, saveSums } from './write.js'

export interface CollectOptions {
  readonly source: Source
  /** All of one length. */
  readonly windows: readonly Int32Array[]
  /** Where sums are saved. */
  readonly partial: string
  /** Bytes. */
  readonly memory: number
  readonly processOutput: boolean
  readonly resume: boolean
  /** Told how many tokens are done. May throw to stop. */
  readonly onProgress: (done: number, total: number) => void
}

/** Tokens of a batch, as programs of training have. */
const batchTokens = 2048
/** Most bytes of hidden states of a round, where weights are read from the file for each. */
const mostHidden = 2 ** 28
/** Batches of a round where all weights are in memory, so that only saving would be rarer with more. */
const batchesInMemory = 8
/** Node, onnxruntime and libllama with nothing loaded. */
const processBytes = 500e6
/** Of attention, where it is small. */
const headWidth = 64

/** @throws QuenchError where memory is too small, UsageError for saved sums of other settings */
export async function collect(options: CollectOptions): Promise<Sums> {
  const { source, windows, partial, resume, onProgress } = options
  const { length } = windows[0]
  const size = Math.min(windows.length, Math.max(1, Math.floor(batchTokens / length)))
  const round = size * roundOf(options, size * length)
  const settings = contentHash({
    model: source.fingerprint,
    text: digest(windows),
    size,
    output: options.processOutput,
  })
  const saved = resume ? await readSums(partial, settings) : { sums: new Map() as Sums, windows: 0 }
  const { sums } = saved
  const weights = onDevice(cpu, source.weights)
  let network: Network | undefined
  try {
    for (let next = saved.windows; next < windows.length; ) {
      // The last windows may be too few for a whole batch; theirs is a batch of its own.
      const left = windows.length - next
      const own = left >= size ? size : left
      if (network?.batch.windows !== own) {
        await network?.dispose()
        network = new Network(cpu, source.architecture, source.config, { windows: own, length })
        network.keepsMemory = source.weights.most === Number.POSITIVE_INFINITY
      }
      const batches = Array.from(
        { length: Math.floor(Math.min(left, own === size ? round : own) / own) },
        (_, batch) => joinWindows(windows.slice(next + batch * own, next + (batch + 1) * own)),
      )
      const taken = batches.length * own
      const before = next
      await addSquares(sums, network, batches, weights, (done, total) =>
        onProgress(Math.round((before + (taken * done) / total) * length), windows.length * length),
      )
      next += taken
      if (!options.processOutput) sums.delete(headMatrix(network).use?.name ?? '')
      if (next < windows.length) await saveSums(partial, sums, next, settings)
    }
  } finally {
    await network?.dispose()
  }
  return sums
}

/** How many batches pass through the model together. Sets how many weights are held. @throws QuenchError where memory is too small */
function roundOf({ source, windows, memory }: CollectOptions, tokens: number): number {
  const sizes = sizesOf(source)
  const perToken = 4 * hiddenWidth(source)
  // Of what is computed in a block all is held for a batch: some six times its inputs, and the scores of attention twice.
  const scores = (source.config.width / headWidth) * windows[0].length
  const activations = 4 * tokens * (6 * sizes.inputs + 2 * scores)
  const held = sizes.block + heldOutside(source)
  const fixed = processBytes + activations
  const inMemory = fixed + 4 * sizes.all + batchesInMemory * perToken * tokens <= memory
  source.weights.most = inMemory ? Number.POSITIVE_INFINITY : 4 * held
  const hidden = Math.min(mostHidden, memory - fixed - 8 * held)
  if (!inMemory && hidden < perToken * tokens)
    throw new QuenchError(
      `collecting importances of this model takes about ${gigabytes(fixed + 8 * held + perToken * tokens)} of memory and ${gigabytes(memory)} are allowed; allow more with --memory, or give a smaller --context`,
    )
  return inMemory ? batchesInMemory : Math.floor(hidden / (perToken * tokens))
}
