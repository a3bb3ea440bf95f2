/**
 * Seeded random numbers, so that a run can be repeated exactly on any machine.
 *
 * The generator is sfc32 ("small fast counting", Chris Doty-Humphrey, PractRand): 128 bits of state, a period of at least 2^32
 * from any start, and integer operations that are exact in JavaScript. A `stream` number selects independent generators of one
 * seed, e.g. one for each text that is written.
 */
export class Random {
  private a: number
  private b: number
  private c: number
  private counter = 1
  private spare: number | undefined

  /**
   * @param seed any number; its integer part counts, modulo 2^53. @param stream selects one of many generators of the seed.
   */
  constructor(seed: number, stream = 0) {
    const whole = Math.abs(Math.trunc(seed)) % 2 ** 53
    this.a = whole | 0
    this.b = (Math.floor(whole / 2 ** 32) ^ (seed < 0 ? 0x80000000 : 0)) | 0
    this.c = stream | 0
    for (let i = 0; i < 15; i++) this.bits()
  }

  /** 32 random bits as an integer in [0, 2^32). */
  bits(): number {
    const sum = (((this.a + this.b) | 0) + this.counter) | 0
    this.counter = (this.counter + 1) | 0
    this.a = this.b ^ (this.b >>> 9)
    this.b = (this.c + (this.c << 3)) | 0
    this.c = (((this.c << 21) | (this.c >>> 11)) + sum) | 0
    return sum >>> 0
  }

  /** Uniform in [0, 1), a multiple of 2^-53. */
  uniform(): number {
    return ((this.bits() >>> 5) * 2 ** 26 + (this.bits() >>> 6)) * 2 ** -53
  }

  /** A uniform integer in [0, n), for n from 1 to 2^32, without bias. */
  int(n: number): number {
    if (!Number.isInteger(n) || n < 1 || n > 2 ** 32) throw new RangeError(`int(${n}): n is not in 1 .. 2^32`)
    const end = 2 ** 32 - (2 ** 32 % n)
    for (;;) {
      const bits = this.bits()
      if (bits < end) return bits % n
    }
  }

  /** Normal with mean 0 and variance 1, by Marsaglia's polar method. */
  normal(): number {
    if (this.spare !== undefined) {
      const value = this.spare
      this.spare = undefined
      return value
    }
    for (;;) {
      const x = 2 * this.uniform() - 1
      const y = 2 * this.uniform() - 1
      const r = x * x + y * y
      if (r >= 1 || r === 0) continue
      const scale = Math.sqrt((-2 * Math.log(r)) / r)
      this.spare = y * scale
      return x * scale
    }
  }

  /** Shuffles in place (Fisher-Yates) and returns the same array. */
  shuffle<T extends { length: number; [index: number]: unknown }>(array: T): T {
    for (let i = array.length - 1; i > 0; i--) {
      const j = this.int(i + 1)
      const value = array[i]
      array[i] = array[j]
      array[j] = value
    }
    return array
  }
}
