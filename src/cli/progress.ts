/**
 * One line on standard error that says how far a long work is: label, percent, rate and time left. Only on a terminal;
 * on a pipe nothing is written.
 */
import { draw } from './print.js'

const redrawMs = 100
let drawn = false

/** Removes the line, for whatever is written next. */
export function clearProgress(): void {
  if (drawn) draw('')
  drawn = false
}

/**
 * A function to be called with what is done and what there is to do. `rate` writes a rate per second, e.g.
 * `1200 tokens/s`.
 */
export function progressLine(
  label: string,
  rate: (perSecond: number) => string,
): (done: number, total: number) => void {
  if (!process.stderr.isTTY) return () => {}
  const start = performance.now()
  let redraw = 0
  return (done, total) => {
    const now = performance.now()
    if (now < redraw) return
    redraw = now + redrawMs
    draw(progressText(label, done, total, (now - start) / 1000, rate))
    drawn = true
  }
}

/** E.g. `evaluating  42 %  1200 tokens/s  3:05 left`. */
export function progressText(
  label: string,
  done: number,
  total: number,
  seconds: number,
  rate: (perSecond: number) => string,
): string {
  const share = total > 0 ? Math.min(1, done / total) : 0
  const percent = `${Math.floor(100 * share)} %`
  if (done === 0 || seconds === 0) return `${label}  ${percent}`
  const left = Math.max(0, total - done) / (done / seconds)
  return `${label}  ${percent}  ${rate(done / seconds)}  ${duration(left)} left`
}

/** Seconds as `3:05` or `1:03:05`. */
export function duration(seconds: number): string {
  const whole = Math.ceil(seconds)
  const two = (n: number) => String(n).padStart(2, '0')
  const minutes = Math.floor(whole / 60)
  if (minutes < 60) return `${minutes}:${two(whole % 60)}`
  return `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(whole % 60)}`
}
