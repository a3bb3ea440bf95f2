/**
 * The events that `--progress jsonl` writes to standard error, one JSON document per line. Version 1 may gain fields and events;
 * readers must ignore those they do not know.
 */

interface EventBase {
  /** Version of this schema. */
  readonly v: 1
  /** Time of the event, ISO 8601 in UTC. */
  readonly time: string
}

/**
 * A stage has begun: `text`, `quantize`, `grid`, `errors`, `sensitivities`, `candidates`, `evaluate`, `chat`, `tasks`, `continue`, `bench`, `tensors`, `write`, `checksum`, or one of a training run:
 * `measure`, `write text`, `teacher`, `train`, and the block-wise stage under its method's name.
 */
interface StageEvent extends EventBase {
  readonly event: 'stage'
  readonly stage: string
}

/** Progress, at most once per second and once at the end of a stage. */
interface ProgressEvent extends EventBase {
  readonly event: 'progress'
  readonly stage: string
  /** In the units of the stage: tokens, blocks, steps, files or bytes. */
  readonly done: number
  readonly total: number
  /** Units per second since the stage began. */
  readonly rate?: number
  /** Remaining seconds at that rate. */
  readonly left?: number
}

/** A stage has ended. */
interface DoneEvent extends EventBase {
  readonly event: 'done'
  readonly stage: string
}

/** A message. An error with an exit code ends the command; one without concerns one of several files. */
interface MessageEvent extends EventBase {
  readonly event: 'note' | 'warning' | 'error'
  readonly message: string
  readonly exitCode?: number
}

export type CommandEvent = StageEvent | ProgressEvent | DoneEvent | MessageEvent
