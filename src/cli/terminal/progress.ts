/**
 * How far a long work is: stage, percent, rate and time left. On a terminal one line that is drawn again and again; elsewhere, in
 * the log of a service or a container, a line where a stage begins and every half a minute; for programs one JSON document a line.
 */
import type { ProgressEvent } from '../../notices.js'
import type { CommandEvent } from './events.js'
import { draw, printEvent, printEvents, printNote, stamp } from './print.js'

/** `auto` is a terminal's line, or lines. */
export const progressModes = ['auto', 'lines', 'jsonl', 'none'] as const
export type ProgressMode = (typeof progressModes)[number]

const redrawMs = 100
const betweenLinesMs = 30_000
const betweenEventsMs = 1000

/** Where progress goes. */
export interface Output {
  readonly to: 'terminal' | 'lines' | 'events' | 'nothing'
  /** Milliseconds since the command began. */
  now(): number
  draw(line: string): void
  print(line: string): void
  emit(event: CommandEvent): void
}

type Show = (done: number, total: number) => void

export class Progress {
  private drawn = false
  private due = 0
  /** The stage that events tell of, until it ends. */
  private open: string | undefined

  constructor(public output: Output) {}

  /** Removes the line that is drawn, for whatever is written next. */
  clear(): void {
    if (this.drawn) this.output.draw('')
    this.drawn = false
  }

  /** Ends the stage that is under way. */
  end(): void {
    this.clear()
    if (this.open !== undefined) this.output.emit({ event: 'done', stage: this.open, ...stamp() })
    this.open = undefined
  }

  /**
   * A function to be called with what is done and what there is to do; rates are of what was done since its first call, or since it began
   * anew with less done. `rate`
   * writes a rate per second, e.g. `1200 tokens/s`; `stage` is what events call it.
   */
  line(label: string, rate: (perSecond: number) => string, stage = label.trim()): Show {
    let first: { readonly at: number; readonly done: number } | undefined
    let before = 0
    return (done, total) => {
      const now = this.output.now()
      if (done < before) first = undefined // the same kind of work once more
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

/** What `--progress` asks for. */
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
