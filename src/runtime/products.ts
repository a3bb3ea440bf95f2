/** Matrix products of plain arrays, for the steps between programs that are linear algebra. */
import { input, matmul } from '../graph/index.js'
import { Program } from './program.js'

/** Compiles a program for each shape, once. */
export class Products {
  private readonly programs = new Map<string, Promise<Program>>()

  /** @param keepsMemory see `Program.compile` */
  constructor(private readonly keepsMemory = true) {}

  /**
   * a (m, k) times b (k, n), both f32 and row by row; `transA`, `transB` say that an operand lies transposed.
   * The result is new, or `into`.
   */
  async multiply(
    a: Float32Array,
    b: Float32Array,
    [m, k, n]: readonly [number, number, number],
    {
      transA = false,
      transB = false,
      into,
    }: { transA?: boolean; transB?: boolean; into?: Float32Array } = {},
  ): Promise<Float32Array> {
    const key = `${m} ${k} ${n} ${transA} ${transB}`
    let program = this.programs.get(key)
    if (!program) {
      const [left, right] = [input(transA ? [k, m] : [m, k]), input(transB ? [n, k] : [k, n])]
      const y = matmul(left, right, { transA, transB })
      program = Program.compile({ inputs: { a: left, b: right }, outputs: { y } }, this.keepsMemory)
      this.programs.set(key, program)
    }
    const { y } = await (await program).run({ a, b }, into ? { y: into } : {})
    return y
  }

  async dispose(): Promise<void> {
    for (const program of this.programs.values()) await (await program).dispose()
    this.programs.clear()
  }
}
