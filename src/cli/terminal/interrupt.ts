/** Handling of Ctrl-C. A command that can stop at a safe point requests an AbortSignal; others are ended immediately. */
import { QuenchError } from '../../errors.js'
import { printNote } from './print.js'
import { clearProgress } from './progress.js'

/** Ctrl-C, the signal of service managers, and that of a closed terminal, which counts as the second signal. */
const exitCodes = { SIGINT: 130, SIGTERM: 143, SIGHUP: 143 } as const

let stop: AbortController | undefined
let received: number | undefined

/** From now on the first signal aborts the returned AbortSignal; the second ends the process immediately. */
export function stopSignal(): AbortSignal {
  stop = new AbortController()
  return stop.signal
}

let kept: string | undefined

/** Sets the message that is printed when a signal ends the process; undefined: none. */
export function sayWhenEnded(sentence: string | undefined): void {
  kept = sentence
}

/** The exit code of an interrupted command. */
export const interruption = (): number | undefined => received

/** @param end ends the process immediately with an exit code */
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
