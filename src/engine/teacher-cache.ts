/** Cache of one teacher's residual streams by window, up to a number of bytes, and of its Fisher information. */
export class TeacherCache {
  private readonly streams = new Map<string, Float32Array>()
  /** Fisher information at the outputs of the matrices, by the digest of the windows that it was computed on. */
  readonly fisher = new Map<string, Map<string, Float32Array>>()
  private free: number

  constructor(bytes: number) {
    this.free = bytes
  }

  get(window: Int32Array): Float32Array | undefined {
    return this.streams.get(keyOf(window))
  }

  set(window: Int32Array, stream: Float32Array): void {
    const key = keyOf(window)
    if (this.free < stream.byteLength || this.streams.has(key)) return
    this.free -= stream.byteLength
    this.streams.set(key, stream.slice())
  }
}

const keyOf = (window: Int32Array): string =>
  Buffer.from(window.buffer, window.byteOffset, window.byteLength).toString('latin1')
