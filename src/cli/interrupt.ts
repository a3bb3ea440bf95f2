/** Ctrl-C. A command that can stop at a good point asks for a signal; the others are ended at once. */
import { QuenchError } from '../errors.js'
import { printNote } from './terminal/print.js'
import { clearProgress } from './terminal/progress.js'

/** Ctrl-C, what a service manager sends, and what a terminal sends that is closed, which counts as the second. */
const exitCodes = { SIGINT: 130, SIGTERM: 143, SIGHUP: 143 } as const

let stop: AbortController | undefined
let received: number | undefined

/** From now on the first of the signals aborts this one; the second ends the process at once. */
export function stopSignal(): AbortSignal {
  stop = new AbortController()
  return stop.signal
}

let kept: string | undefined

/** From now on a signal that ends the process at once says this first; undefined: nothing. */
export function sayWhenEnded(sentence: string | undefined): void {
  kept = sentence
}

/** The exit code of a command that was told to end. */
export const interruption = (): number | undefined => received

/** @param end ends the process at once, with an exit code */
export function handleSignals(end: (code: number) => void): void {
  for (const [name, code] of Object.entries(exitCodes))
    process.on(name, () => {
      received = code
      if (!stop || stop.signal.aborted) {
        clearProgress()
        if (kept !== undefined) printNote(kept)
        end(received)
      } else {
        stop.abort(
          new QuenchError(
            'stopped before training began; finished parts of the text that the model writes are kept for the same command',
          ),
        )
        clearProgress()
        printNote('stopping at the next good point; a second signal ends it at once')
      }
    })
}
