/**
 * Adam (arXiv 1412.6980) with f32 moments, bias correction and rates in the natural units of the values: with u the
 * unit of a value, the step is taken on value / u, so the gradient is multiplied by u and the move too.
 *
 * One pass over memory, four values at a time (adam.wat), by pieces that are copied into the kernel's memory and back. The same
 * as graph ops takes some fifteen passes, and a loop of JavaScript, which computes in f64, four times as long.
 */
import { adamWasm } from './adam-wasm.js'

export interface Moments {
  readonly first: Float32Array
  readonly second: Float32Array
}

export interface AdamStep {
  readonly rate: number
  /** What multiplies the gradient, for averaging and clipping. */
  readonly gradientScale: number
  /** 1 for the first step. */
  readonly number: number
}

const beta1 = 0.9
const beta2 = 0.95
/** Gradients of a loss per token with respect to quantization steps are small; this is far below them. */
const epsilon = 1e-15
/** Values of a piece. */
const piece = 4096

interface Kernel {
  readonly memory: { readonly buffer: ArrayBuffer }
  adam(units: number, vectors: number, own: number, gradientScale: number, rate: number): void
}
/** The part that is used here of what every JavaScript engine has and Node's types do not name. */
interface Engine {
  readonly Module: new (bytes: Uint8Array) => object
  readonly Instance: new (module: object) => { readonly exports: unknown }
}
const { WebAssembly: engine } = globalThis as unknown as { WebAssembly: Engine }
const kernel = new engine.Instance(new engine.Module(Buffer.from(adamWasm, 'base64'))).exports as Kernel
const place = (index: number, length: number): Float32Array =>
  new Float32Array(kernel.memory.buffer, 4 * piece * index, length)
const inKernel = {
  values: place(0, piece),
  gradient: place(1, piece),
  first: place(2, piece),
  second: place(3, piece),
  unit: place(4, piece),
}

/** Updates `values` and `moments` in place. `unit` holds one value for each run of values.length / unit.length. */
export function adam(
  values: Float32Array,
  gradient: Float32Array,
  { first, second }: Moments,
  unit: Float32Array,
  { rate, gradientScale, number }: AdamStep,
): void {
  const correction = 1 / (1 - beta1 ** number)
  // The correction of the second moment is folded into the move: m / sqrt(v c) = m / sqrt(v) / sqrt(c).
  const root = Math.sqrt(1 / (1 - beta2 ** number))
  const move = (rate * correction) / root
  const run = values.length / unit.length
  // Pieces hold whole runs, or a run holds many pieces; the kernel takes four values with one unit, or each with its own.
  const size = run > piece ? piece : Math.floor(piece / run) * run
  const fits = run === 1 || run % 4 === 0
  for (let start = 0; start < values.length; ) {
    const end = Math.min(
      start + size,
      values.length,
      (Math.floor(start / run) + Math.max(1, size / run)) * run,
    )
    const count = end - start
    const units = unit.subarray(Math.floor(start / run), Math.ceil(end / run))
    if (fits && count % 4 === 0) {
      inKernel.values.set(values.subarray(start, end))
      inKernel.gradient.set(gradient.subarray(start, end))
      inKernel.first.set(first.subarray(start, end))
      inKernel.second.set(second.subarray(start, end))
      inKernel.unit.set(units)
      const [own, vectors] = run === 1 ? [1, 1] : [0, Math.min(run, count) / 4]
      kernel.adam(count / (4 * vectors), vectors, own, gradientScale, move)
      values.set(inKernel.values.subarray(0, count), start)
      first.set(inKernel.first.subarray(0, count), start)
      second.set(inKernel.second.subarray(0, count), start)
    } else {
      for (let i = start; i < end; i++) {
        const u = unit[Math.floor(i / run)]
        const g = gradient[i] * gradientScale * u
        const m = beta1 * first[i] + (1 - beta1) * g
        const v = beta2 * second[i] + (1 - beta2) * g * g
        first[i] = m
        second[i] = v
        values[i] -= (move * u * m) / (Math.sqrt(v) + epsilon)
      }
    }
    start = end
  }
}
