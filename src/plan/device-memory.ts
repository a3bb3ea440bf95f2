/** Bytes that a run takes on a GPU, item by item. They are planned as those of the machine are (memory.ts), and the backend keeps to the limit. */
import { tokensAtOnce } from '../blockwise/hessians.js'
import type { Item } from '../config/plan.js'
import type { Model } from '../student/source.js'
import { type Held, type Holder, heldOutside, hiddenWidth, sizesOf, totalOf } from './memory.js'

/** Bytes per weight of the largest tensor while it is rounded and moved: every operation of the step writes an array of its size. */
const stepBytes = 48

/** Total bytes on a GPU. */
export const deviceBytesOf = (
  holder: Holder,
  model: Model,
  options: Held,
  untrained: ReadonlySet<string>,
): number => totalOf(deviceMemoryOf(holder, model, options, untrained))

export function deviceMemoryOf(
  holder: Holder,
  model: Model,
  o: Held,
  untrained: ReadonlySet<string>,
): Item[] {
  const { trained, frozen, block, largest, matrix, inputs } = sizesOf(model, untrained)
  const { width, vocabulary } = model.config
  const common: Item[] = [
    {
      what: 'activations of two copies of a block',
      amount: 4 * o.batch * (60 * width + 6 * (block / width)),
    },
    {
      what: 'logits of teacher and student, their exponentials and gradients',
      amount: 4 * 16 * Math.min(o.batch, 128) * vocabulary,
    },
  ]
  if (typeof holder !== 'string')
    return [
      ...common,
      { what: 'frozen tensors, in full precision and quantized', amount: 8 * frozen },
      { what: 'weights, latents, gradients and optimizer state', amount: holder.weightBytes * trained },
      { what: 'rounding and moving the largest tensor', amount: stepBytes * largest },
    ]
  const solving: Item[] = [
    ...common,
    { what: 'Hessians of a group of matrices', amount: 8 * inputs ** 2 + 24 * matrix },
    {
      what: 'inputs and outputs of a group of matrices',
      amount: 4 * 2 * (tokensAtOnce + o.trial) * (inputs + 4 * Math.ceil(matrix / width)),
    },
  ]
  if (holder === 'solving one block at a time')
    return [
      ...solving,
      { what: 'a block of teacher, student and both PTQ files', amount: 16 * block },
      { what: 'tensors outside the blocks, in full precision and quantized', amount: 8 * heldOutside(model) },
    ]
  return [
    ...solving,
    { what: 'frozen tensors, in full precision and quantized', amount: 8 * frozen },
    { what: 'weights of teacher and student, and latents', amount: 12 * trained },
    {
      what: 'hidden states of teacher and student',
      amount: 4 * 2 * (o.calibration + o.trial) * hiddenWidth(model),
    },
  ]
}
