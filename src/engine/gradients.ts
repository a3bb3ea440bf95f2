/**
 * Sums of gradients, by GGUF name, laid out as the weights are. A sum that was cleared is zero whatever its buffer holds: what comes
 * first is written over it, by the very program that computes it where possible, so that no pass over memory is spent on zeros and on
 * adding to them.
 */
import type { Backend, Buffers, DeviceBuffer } from '../backends/backend.js'

export class GradientSum {
  /** Whether it is zero, so that what the buffer holds does not count. */
  private zero = true
  private readonly buffer: DeviceBuffer

  constructor(
    private readonly backend: Backend,
    length: number,
  ) {
    this.buffer = backend.zeros(length)
  }

  /** Makes it zero. */
  clear(): void {
    this.zero = true
  }

  /** The buffer of a sum that is zero, for a program to write to, which then is what it holds; undefined for others. */
  target(): DeviceBuffer | undefined {
    if (!this.zero) return undefined
    this.zero = false
    return this.buffer
  }

  /** Adds values. Those that a program has written to its target are in it already. */
  add(values: DeviceBuffer): void {
    if (values === this.buffer) return
    if (this.zero) this.backend.copy(this.buffer, values)
    else this.backend.add(this.buffer, values)
    this.zero = false
  }

  /** Adds rows, (tokens, columns), to those that the tokens choose. */
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

/** Gradients that are not there are not computed. */
export type Gradients = ReadonlyMap<string, GradientSum>

/** The buffers of sums that are zero, for a program to write to, by the names `d <name>` of its outputs. */
export function targetsOf(gradients: Gradients, names: readonly string[], prefix = ''): Buffers {
  const targets: Buffers = {}
  for (const name of names) {
    const target = gradients.get(prefix + name)?.target()
    if (target) targets[`d ${name}`] = target
  }
  return targets
}
