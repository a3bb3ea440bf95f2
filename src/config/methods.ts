/**
 * The ways to train. Each begins with the block-wise stage; a method says what trains end to end after that, if anything does, and what
 * that takes. A new one is an entry here. The one that trains most comes first.
 */

/** Training end to end. Bytes are for each weight that trains. */
export interface Training {
  /** Held in memory: latents, weights, gradients, Adam's moments, and those of scales and norms. */
  readonly weightBytes: number
  /** The same where Adam's moments lie on disk; absent where they cannot. */
  readonly weightBytesOnDisk?: number
  /** Of a checkpoint. */
  readonly checkpointBytes: number
  /** Codes stay as the block-wise stage left them, and only scales and norms train. */
  readonly freezesCodes: boolean
}

interface Entry {
  readonly name: string
  readonly help: string
  readonly training?: Training
}

const table = [
  {
    name: 'distill',
    help: 'all weights',
    training: { weightBytes: 24, weightBytesOnDisk: 16, checkpointBytes: 14.4, freezesCodes: false },
  },
  {
    name: 'scales',
    help: 'scales and norms only',
    training: { weightBytes: 17, checkpointBytes: 7.3, freezesCodes: true },
  },
  { name: 'blockwise', help: 'nothing after the block-wise stage' },
] as const satisfies readonly Entry[]

export type Method = (typeof table)[number]['name']

/** Names of the methods. */
export const methods: readonly Method[] = table.map(({ name }) => name)

/** The stage that all methods begin with, and the method that has no other. */
export const blockwise = 'blockwise' satisfies Method

/** What trains after the block-wise stage; undefined where nothing does. */
export function trainingOf(method: Method): Training | undefined {
  const entry: Entry | undefined = table.find(({ name }) => name === method)
  return entry?.training
}

/** `distill: all weights; ...`, for help. */
export const methodsHelp: string = table.map(({ name, help }) => `${name}: ${help}`).join('; ')

export const isMethod = (value: unknown): value is Method => methods.some((method) => method === value)
