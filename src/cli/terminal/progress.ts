/**
 * Progress of long operations: stage, percent, rate and remaining time. On a terminal one line is redrawn; elsewhere, e.g. in a log, a
 * line is printed when a stage begins and every 30 seconds; for programs, one JSON document per line.
 */
import type { ProgressEvent } from '../../notices.js'
import type { CommandEvent } from './events.js'
import { draw, printEvent, printEvents, printNote, stamp } from './print.js'

/** `auto`: a redrawn line on a terminal, lines elsewhere. */
export const progressModes = ['auto', 'lines', 'jsonl', 'none'] as const
export type ProgressMode = (typeof progressModes)[number]

const redrawMs = 100
const betweenLinesMs = 30_000
const betweenEventsMs = 1000

/** Where progress goes. */
export interface Output {
  readonly to: 'terminal' | 'lines' | 'events' | 'nothing'
  /** Milliseconds since the command started. */
  now(): number
  draw(line: string): void
  print(line: string): void
  emit(event: CommandEvent): void
}

type Show = (done: number, total: number) => void

export class Progress {
  private drawn = false
  private due = 0
  /** The open stage of the events, if any. */
  private open: string | undefined

  constructor(public output: Output) {}

  /** Removes the drawn line before other output. */
  clear(): void {
    if (this.drawn) this.output.draw('')
    this.drawn = false
  }

  /** Ends the current stage. */
  end(): void {
    this.clear()
    if (this.open !== undefined) this.output.emit({ event: 'done', stage: this.open, ...stamp() })
    this.open = undefined
  }

  /**
   * Returns a function to call with the amounts done and in total. Rates are measured from its first call, or from the last call at which
   * `done` decreased. `rate` formats a rate per second, e.g. `1200 tokens/s`; `stage` is the name in events.
   */
  line(label: string, rate: (perSecond: number) => string, stage = label.trim()): Show {
    let first: { readonly at: number; readonly done: number } | undefined
    let before = 0
    return (done, total) => {
      const now = this.output.now()
      if (done < before) first = undefined // the same stage starts again
      before = done
      const begins = first === undefined
      first ??= { at: now, done }
      const { to } = this.output
      if (to === 'nothing') return
      const seconds = (now - first.at) / 1000
      if (to === 'events') {
        this.event(stage, done, total, seconds, first.done, begins)
        return
      }
      const last = to === 'lines' && done >= total
      if ((now < this.due && !(begins && to === 'lines')) || (last && !begins)) return
      const text = progressText(label, done, total, seconds, rate, first.done)
      this.due = now + (to === 'terminal' ? redrawMs : betweenLinesMs)
      if (to === 'lines') this.output.print(text.trimStart())
      else this.output.draw(text)
      this.drawn = to === 'terminal'
    }
  }

  private event(
    stage: string,
    done: number,
    total: number,
    seconds: number,
    before: number,
    begins: boolean,
  ) {
    const { output } = this
    if (begins) {
      this.end()
      this.open = stage
      output.emit({ event: 'stage', stage, ...stamp() })
    }
    const now = output.now()
    const ends = done >= total && this.open === stage
    if (now < this.due && !begins && !ends) return
    this.due = now + betweenEventsMs
    const rate = (done - before) / seconds
    const known = rate > 0 && Number.isFinite(rate)
    const left = Math.max(0, total - done) / rate
    output.emit({ event: 'progress', stage, done, total, ...(known && { rate, left }), ...stamp() })
    if (ends) this.end()
  }
}

const outputs = (mode: ProgressMode): Output['to'] => {
  if (mode === 'auto') return process.stderr.isTTY ? 'terminal' : 'lines'
  return mode === 'jsonl' ? 'events' : mode === 'none' ? 'nothing' : 'lines'
}

const progress = new Progress({
  to: outputs('auto'),
  now: () => performance.now(),
  draw,
  print: printNote,
  emit: printEvent,
})

/** Applies `--progress`. */
export function setProgress(mode: ProgressMode): void {
  progress.output = { ...progress.output, to: outputs(mode) }
  if (mode === 'jsonl') printEvents()
}

export const clearProgress = (): void => progress.clear()
export const endProgress = (): void => progress.end()
export const progressLine: Progress['line'] = (...line) => progress.line(...line)

/** The same for events of the API. */
export function eventLine(...line: Parameters<Progress['line']>): (event: ProgressEvent) => void {
  const show = progress.line(...line)
  return ({ done, total }) => show(done, total)
}

/** E.g. `evaluating  42 %  1200 tokens/s  3:05 left`; `before` was done before the timing started. */
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
