/** What one teacher gave for windows of text; residual streams up to a number of bytes. */
export class TeacherCache {
  private readonly streams = new Map<string, Float32Array>()
  /** Fisher information at the outputs of the matrices, by the windows that it comes from. */
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
