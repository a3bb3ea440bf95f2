/** Matrix products of plain arrays, for the steps between programs that are linear algebra. */
import { input, matmul } from '../graph/index.js'
import { Program, Programs } from './program.js'

/** Compiles a program for each shape, once. */
export class Products {
  private readonly programs = new Programs()

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
    const program = await this.programs.get(key, () => {
      const [left, right] = [input(transA ? [k, m] : [m, k]), input(transB ? [n, k] : [k, n])]
      const y = matmul(left, right, { transA, transB })
      return Program.compile({ inputs: { a: left, b: right }, outputs: { y } }, this.keepsMemory)
    })
    const { y } = await program.run({ a, b }, into ? { y: into } : {})
    return y
  }

  dispose(): Promise<void> {
    return this.programs.dispose()
  }
}
