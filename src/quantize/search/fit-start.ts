/** A scale and offset from which least squares begin, and the best that was found on their way. */
export class Start {
  error = Number.POSITIVE_INFINITY
  scale = 0
  offset = 0
  o: number

  constructor(
    public s: number,
    centre: number,
    middle: number,
  ) {
    this.o = centre - s * middle
  }

  /** Takes the error of the current scale and offset. @returns whether it is the least so far */
  take(error: number): boolean {
    if (!(error < this.error)) return false
    this.error = error
    this.scale = this.s
    this.offset = this.o
    return true
  }

  goTo(next: [number, number] | undefined): boolean {
    if (next) [this.s, this.o] = next
    return next !== undefined
  }
}
