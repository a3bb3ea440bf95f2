/** Ctrl-C. A command that can stop at a good point asks for a signal; the others are ended at once. */
import { constants } from 'node:os'
import { QuenchError } from '../errors.js'

/** Ctrl-C, what a service manager sends, and what a terminal sends that is closed. */
const endings = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

let stop: AbortController | undefined
let received: number | undefined

/** From now on the first of the signals aborts this one; the second ends the process at once. */
export function stopSignal(): AbortSignal {
  stop = new AbortController()
  return stop.signal
}

/** The exit code of a command that was told to end, as shells have it: 128 and the number of the signal. */
export const interruption = (): number | undefined => received

/** @param end ends the process at once, with an exit code */
export function handleSignals(end: (code: number) => void): void {
  for (const name of endings)
    process.on(name, () => {
      received = 128 + constants.signals[name]
      if (!stop || stop.signal.aborted) end(received)
      else
        stop.abort(
          new QuenchError(
            'stopped before training began; text that the model has written is kept for the same command',
          ),
        )
    })
}
