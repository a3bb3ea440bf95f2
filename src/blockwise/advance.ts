/** Hidden states of many batches, from the embedding and through whole blocks. */
import type { DeviceWeights } from '../backends/backend.js'
import type { Network } from '../engine/network.js'
import type { HiddenStates } from './hidden-states.js'
import { beginning, finishBlock } from './samples.js'
import type { Advanced, Sides } from './solve.js'

/** Sets the states to the embeddings of the batches. */
export async function start(
  network: Network,
  batches: readonly Int32Array[],
  weights: DeviceWeights,
  states: HiddenStates,
): Promise<HiddenStates> {
  for (const [i, tokens] of batches.entries()) await states.set(i, await network.embed(tokens, weights))
  return states
}

/** Advances the hidden states of both sides through the rest of a block. */
export async function advanceSides(
  network: Network,
  layer: number,
  { student, teacher }: Sides,
  done: Advanced | undefined,
): Promise<void> {
  for (const of of ['states', 'trial'] as const) {
    const states = student[of]
    for (let i = 0; i < states.count; i++) {
      const activations = states.get(i)
      const cut = done?.student[of][i] ?? beginning
      await finishBlock(network, layer, { weights: student.weights, activations, cut })
      await states.set(i, activations)
    }
    if (!done?.teacherAdvanced) await advance(network, layer, teacher[of], teacher.weights)
  }
}

/** Advances hidden states through a block. */
export async function advance(
  network: Network,
  layer: number,
  states: HiddenStates,
  weights: DeviceWeights,
): Promise<void> {
  for (let i = 0; i < states.count; i++) {
    const activations = states.get(i)
    activations.x = await network.block(layer, activations, weights)
    await states.set(i, activations)
  }
}
