/** Ctrl-C. A command that can stop at a good point asks for a signal; the others are ended at once. */
import { QuenchError } from '../errors.js'

let stop: AbortController | undefined

/** From now on the first SIGINT or SIGTERM aborts this signal; the second ends the process as ever. */
export function stopSignal(): AbortSignal {
  stop = new AbortController()
  return stop.signal
}

/** Aborts the signal of the command. False if there is none, or if it was aborted before. */
export function requestStop(): boolean {
  if (!stop || stop.signal.aborted) return false
  stop.abort(
    new QuenchError(
      'stopped before training began; text that the model has written is kept for the same command',
    ),
  )
  return true
}
