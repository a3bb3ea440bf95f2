/** A tensor of the student that holds only codes, without latents, for runs in which no training follows. */
import type { Backend, DeviceBuffer } from '../backends/backend.js'
import type { Codes, Format } from '../formats/format.js'
import type { Shape } from '../graph/index.js'

export class CodedTensor {
  /** As the forward pass uses them, row by row. */
  readonly weights: DeviceBuffer

  constructor(
    readonly backend: Backend,
    readonly name: string,
    /** (out, in). */
    readonly shape: Shape,
    /** Absent for a tensor that is stored as F32, whose values are the codes `w`. */
    readonly format: Format | undefined,
    private stored: Codes,
  ) {
    this.weights = backend.upload(format ? format.dequantize(stored) : stored.w)
  }

  async codes(): Promise<Codes> {
    return this.stored
  }

  /** Replaces the codes. */
  async take(codes: Codes): Promise<void> {
    this.stored = codes
    this.backend.write(this.weights, this.format ? this.format.dequantize(codes) : codes.w)
  }
}
