/** How the methods fit in memory, of the machine and of a GPU. */
import { type Method, trainingOf } from '../config/methods.js'
import type { Model } from '../student/source.js'
import { deviceBytesOf } from './device-memory.js'
import { bytesOf, type Holder, momentBytesOf } from './memory.js'
import type { PlanOptions } from './plan-options.js'

/** How a method fits in memory: the tensors left untrained, and the bytes of the optimizer's moments on disk. */
export interface Fit {
  readonly untrained: ReadonlySet<string>
  readonly momentBytes: number
}

/** The best way in which a method fits. */
export function fitting(model: Model, options: PlanOptions, method: Method): Fit | undefined {
  const sets = options.untrained ?? [new Set<string>()]
  const within = (holder: Holder, set: ReadonlySet<string>): boolean =>
    bytesOf(holder, model, options, set) <= options.memory &&
    deviceBytesOf(holder, model, options, set) <= (options.deviceMemory ?? Number.POSITIVE_INFINITY)
  const whole = sets.filter((set) => within('solving in memory', set))
  const training = trainingOf(method)
  const inMemory = training
    ? whole.find((set) => within(training, set))
    : (whole[0] ?? sets.find((set) => within('solving one block at a time', set)))
  if (inMemory) return { untrained: inMemory, momentBytes: 0 }
  const weightBytes = training?.weightBytesOnDisk
  if (weightBytes === undefined) return undefined
  const onDisk = whole.find((set) => within({ weightBytes }, set))
  return onDisk && { untrained: onDisk, momentBytes: momentBytesOf(model, onDisk) }
}
