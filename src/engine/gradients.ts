/**
 * Sums of gradients, by GGUF name, laid out as the weights are. A cleared sum is zero whatever its buffer holds: the first gradient
 * overwrites it, if possible directly from the program that computes it, which saves a pass of zeros and one of adding.
 */
import type { Backend, Buffers, DeviceBuffer } from '../backends/backend.js'

export class GradientSum {
  /** Whether the sum is zero and the contents of the buffer are ignored. */
  private zero = true
  private readonly buffer: DeviceBuffer

  constructor(
    private readonly backend: Backend,
    length: number,
  ) {
    this.buffer = backend.zeros(length)
  }

  /** Sets the sum to zero. */
  clear(): void {
    this.zero = true
  }

  /** The buffer of a zero sum, to which a program writes the new sum; undefined if the sum is not zero. */
  target(): DeviceBuffer | undefined {
    if (!this.zero) return undefined
    this.zero = false
    return this.buffer
  }

  /** Adds values; those that a program has written to `target` are in the sum already. */
  add(values: DeviceBuffer): void {
    if (values === this.buffer) return
    if (this.zero) this.backend.copy(this.buffer, values)
    else this.backend.add(this.buffer, values)
    this.zero = false
  }

  /** Adds rows, (tokens, columns), to the rows of the tokens. */
  addRows(tokens: Int32Array, rows: DeviceBuffer): void {
    this.backend.scatterAddRows(this.values, tokens, rows)
  }

  /** The sum, which may be added to. */
  get values(): DeviceBuffer {
    if (this.zero) this.backend.fill(this.buffer, 0)
    this.zero = false
    return this.buffer
  }
}

/** Gradients of tensors that are missing here are not computed. */
export type Gradients = ReadonlyMap<string, GradientSum>

/** The buffers of zero sums, for a program to write to, by the names `d <name>` of its outputs. */
export function targetsOf(gradients: Gradients, names: readonly string[], prefix = ''): Buffers {
  const targets: Buffers = {}
  for (const name of names) {
    const target = gradients.get(prefix + name)?.target()
    if (target) targets[`d ${name}`] = target
  }
  return targets
}
