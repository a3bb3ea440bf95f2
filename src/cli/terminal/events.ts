/**
 * What `--progress jsonl` writes to standard error: one JSON document a line. Fields are only ever added to version 1; a reader passes over
 * events and fields that it does not know.
 */

interface EventBase {
  /** Version of this schema. */
  readonly v: 1
  /** When, as ISO 8601 in UTC. */
  readonly time: string
}

/**
 * A stage has begun: `text`, `quantize`, `evaluate`, `chat`, `tasks`, `continue`, `bench`, `tensors`, `write`, or one of a training run:
 * `measure`, `write text`, `teacher`, `train`, and the block-wise stage under its method's name.
 */
interface StageEvent extends EventBase {
  readonly event: 'stage'
  readonly stage: string
}

/** At most once a second, and once where a stage ends. */
interface ProgressEvent extends EventBase {
  readonly event: 'progress'
  readonly stage: string
  /** In the units of the stage: tokens, blocks, steps, files or bytes. */
  readonly done: number
  readonly total: number
  /** Units a second since the stage began. */
  readonly rate?: number
  /** Seconds that are left at that rate. */
  readonly left?: number
}

/** A stage has ended. */
interface DoneEvent extends EventBase {
  readonly event: 'done'
  readonly stage: string
}

/** A sentence for a person. An error ends the command with this exit code, unless it is of one of several files. */
interface MessageEvent extends EventBase {
  readonly event: 'note' | 'warning' | 'error'
  readonly message: string
  readonly exitCode?: number
}

export type CommandEvent = StageEvent | ProgressEvent | DoneEvent | MessageEvent
