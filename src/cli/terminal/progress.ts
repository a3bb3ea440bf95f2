/**
 * How far a long work is: label, percent, rate and time left. On a terminal one line that is drawn again and again; elsewhere, in
 * the log of a service or a container, a line now and then, ever more seldom, and none for what is done soon.
 */
import { draw, printError } from './print.js'

const redrawMs = 100
/** Without a terminal: when the first line comes, what lies between lines at least, and as a share of the time that has passed. */
const firstMs = 20_000
const betweenMs = 30_000
const betweenShare = 0.05

/** Where lines go. */
export interface Output {
  readonly terminal: boolean
  /** Milliseconds since the command began. */
  now(): number
  draw(line: string): void
  print(line: string): void
}

export class Progress {
  private drawn = false
  private due: number

  constructor(private readonly output: Output) {
    this.due = output.terminal ? 0 : firstMs
  }

  /** Removes the line that is drawn, for whatever is written next. */
  clear(): void {
    if (this.drawn) this.output.draw('')
    this.drawn = false
  }

  /**
   * A function to be called with what is done and what there is to do; rates are of what was done since its first call. `rate`
   * writes a rate per second, e.g. `1200 tokens/s`.
   */
  line(label: string, rate: (perSecond: number) => string): (done: number, total: number) => void {
    let first: { readonly at: number; readonly done: number } | undefined
    return (done, total) => {
      const now = this.output.now()
      first ??= { at: now, done }
      if (now < this.due || (!this.output.terminal && done >= total)) return
      const text = progressText(label, done, total, (now - first.at) / 1000, rate, first.done)
      if (this.output.terminal) {
        this.due = now + redrawMs
        this.output.draw(text)
        this.drawn = true
      } else {
        this.due = now + Math.max(betweenMs, betweenShare * now)
        this.output.print(text.trimStart())
      }
    }
  }
}

const progress = new Progress({
  terminal: process.stderr.isTTY,
  now: () => performance.now(),
  draw,
  print: printError,
})

export const clearProgress = (): void => progress.clear()
export const progressLine: Progress['line'] = (label, rate) => progress.line(label, rate)

/** E.g. `evaluating  42 %  1200 tokens/s  3:05 left`; `before` was done before the seconds began. */
export function progressText(
  label: string,
  done: number,
  total: number,
  seconds: number,
  rate: (perSecond: number) => string,
  before = 0,
): string {
  const share = total > 0 ? Math.min(1, done / total) : 0
  const percent = `${Math.floor(100 * share)} %`
  const perSecond = (done - before) / seconds
  if (!(perSecond > 0) || !Number.isFinite(perSecond)) return `${label}  ${percent}`
  const left = Math.max(0, total - done) / perSecond
  return `${label}  ${percent}  ${rate(perSecond)}  ${duration(left)} left`
}

/** Seconds as `3:05` or `1:03:05`. */
export function duration(seconds: number): string {
  const whole = Math.ceil(seconds)
  const two = (n: number) => String(n).padStart(2, '0')
  const minutes = Math.floor(whole / 60)
  if (minutes < 60) return `${minutes}:${two(whole % 60)}`
  return `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(whole % 60)}`
}
